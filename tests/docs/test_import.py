"""What `docs/import.md` shows: each step is taken, in the order of the page, and answered in the shape shown."""

import json
import os
import re
from pathlib import Path
from typing import Any

from resolvers.csv_mapping_text import mapping_from
from tests.acceptance.test_command_line import run
from tests.docs.test_audit import SHOWN, shape
from tests.support.importing import FIELD_SHEET, as_wqx3, demo_file, fresh_project, run_to_the_end, send
from tests.support.server import free_port, start_demo
from tests.support.world import World

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "import.md").read_text()
EXAMPLES = {re.search(r"(?:query|mutation) (\w+)", one["query"])[1]: one for one in SHOWN.finditer(PAGE)}  # type: ignore[index]
COMMANDS = re.findall(r"^    fieldward (import .*)$", PAGE, re.MULTILINE)
MAPPING = re.search(r'^```json\n(\{\n  "delimiter".*?)^```$', PAGE, re.MULTILINE | re.DOTALL)[1]  # type: ignore[index]


async def test_the_steps_of_the_page_are_answered_in_the_shape_that_is_shown(world: World) -> None:
    owner = await world.client("owner")
    project = f"Project:{await world.project_id(await fresh_project(world))}"
    assert list(EXAMPLES) == ["CreateImport", "StartImport", "Watch"]
    import_id = ""
    for name, example in EXAMPLES.items():
        given: Any = json.loads(example["variables"])
        if name == "CreateImport":
            given["input"]["projectId"] = project
            assert given["input"]["size"] == len(demo_file())
        elif name == "StartImport":
            given["input"]["id"] = import_id
        else:
            given["id"] = import_id
            await run_to_the_end()

        answer = await owner.run(example["query"], given)

        shown = json.loads(example["answer"])
        assert shape(answer.body) == shape(shown), (name, answer.body)
        if name == "CreateImport":
            made = answer.data["createImport"]["dataImport"]
            import_id = made["id"]
            told = json.loads(re.search(r'^    (\{"received".*\})$', PAGE, re.MULTILINE)[1])  # type: ignore[index]
            assert (await send(owner, made["uploadPath"], demo_file())).json() == told
        elif name == "Watch":
            assert answer.data["dataImport"]["progress"] == shown["data"]["dataImport"]["progress"]
            assert answer.data["dataImport"]["rows"]["nodes"] == shown["data"]["dataImport"]["rows"]["nodes"]


def test_the_mapping_of_the_page_is_sound() -> None:
    assert json.loads(MAPPING) == FIELD_SHEET
    assert mapping_from(MAPPING).time_zone == "Europe/Berlin"


DEMO = {"acme": "suncoast", "WELLS": "LAKES", "ada@acme.example": "owner@suncoast.example"}
"""What there is in the demo in the place of what the page names."""


def test_the_commands_of_the_page_run(tmp_path: Path) -> None:
    data = Path(os.path.realpath(tmp_path)) / "data"
    start_demo(data, free_port()).stop()
    files = {
        "results.csv": demo_file(),
        "newer.csv": as_wqx3(demo_file()),
        "sheet.csv": "Stelle;Zeit;T;pH\nA-1;01.02.2024 8:30;3,5;7,1\n".encode("utf-8-sig"),
        "sheet.json": MAPPING.encode(),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    assert len(COMMANDS) == 3
    reports = []
    for command in COMMANDS:
        words = [str(tmp_path / word) if word in files else DEMO.get(word, word) for word in command.split()]
        dry = run(data, *words, "--dry-run", "--json") if "--mapping" in words else None
        done = run(data, *words, "--json", "--fates", str(tmp_path / "fates.csv"))
        report = json.loads(done.stdout)
        assert dry is None or {**json.loads(dry.stdout), "dry_run": False} == report
        assert done.returncode == (3 if report["rejected"] else 0), done.stderr
        assert len((tmp_path / "fates.csv").read_text().splitlines()) == report["rows"] + 1
        reports.append((report["created"] > 0, report["known"], report["rejected"]))
    # What came in the older layout is known in the newer one.
    assert reports[1:] == [(False, 240, 6), (True, 0, 0)]


def test_a_mapping_that_is_not_sound_is_refused_with_what_is_wrong(tmp_path: Path) -> None:
    sheet, mapping = tmp_path / "sheet.csv", tmp_path / "sheet.json"
    sheet.write_text("a\n1\n")
    mapping.write_text('{"columns": []}')
    words = ["--organization", "acme", "--project", "WELLS", "--as", "ada@acme.example"]

    done = run(tmp_path / "data", "import", "csv", str(sheet), "--mapping", str(mapping), *words)

    assert (done.returncode, done.stderr) == (
        2,
        "fieldward: mapping.columns: Expected a column or a constant for SITE_CODE.\n",
    )
