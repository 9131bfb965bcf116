"""What `docs/export.md` shows is run as it stands, against a server."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from resolvers.archive_import import COLUMNS_NOT_PUT_IN, NOT_PUT_IN
from resolvers.export_job import WRITERS
from tests.support.server import Server
from tests.support.world import SIGN_IN

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "export.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="The page's commands want curl and jq.")
def test_the_commands_of_the_page_export_and_verify(server: Server, tmp_path: Path) -> None:
    email, password = server.sign_ins["owner"]
    given = {"input": {"email": email, "password": password}}
    answer = httpx.post(f"{server.url}/graphql", json={"query": SIGN_IN, "variables": given})
    token = answer.json()["data"]["signIn"]["accessToken"]

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(BLOCKS)],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "URL": server.url, "TOKEN": token},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 0, (done.stdout, done.stderr)
    assert re.search(r"records-\d{8}-\d{6}\.csv: OK", done.stdout)
    (file,) = tmp_path.glob("records-*.csv")
    assert file.read_bytes().startswith(b"project_id,project_code,project_name,record_id,")


def test_the_page_names_every_format() -> None:
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", PAGE, re.MULTILINE)) == set(map(str, WRITERS))


def test_the_page_names_every_table_and_column_that_is_not_put_in_again() -> None:
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (.+) \|$", PAGE.partition("\n| Table | Why |\n")[2], re.MULTILINE)
    assert {name: why for names, why in rows for name in re.findall(r"\w+", names)} == NOT_PUT_IN
    said = re.findall(r"Of `(\w+)`, ((?:`\w+`(?:, | and\s|))+)", PAGE)
    columns = {(table, name) for table, names in said for name in re.findall(r"`(\w+)`", names)}
    assert columns == set(COLUMNS_NOT_PUT_IN)
