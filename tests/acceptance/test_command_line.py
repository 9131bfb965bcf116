"""The command line as an operator uses it: real processes over a database of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fieldward.demo.load import RESULTS
from tests.support.server import ROOT, environment, free_port, start_demo

PASSWORD = "a long enough pass phrase"


def run(directory: Path, *arguments: str, given: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command of Fieldward's."""
    return subprocess.run(
        [sys.executable, "-m", "fieldward", *arguments],
        cwd=ROOT,
        env=environment(directory, **settings),
        input=given,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["serve"],
        ["migrate"],
        ["demo"],
        ["schema"],
        ["inventory"],
        ["roles"],
        ["import"],
        ["import", "wqx-csv"],
        ["organization", "create"],
        ["user", "create"],
        ["user", "suspend"],
    ],
)
def test_help_has_an_example(tmp_path: Path, arguments: list[str]) -> None:
    done = run(tmp_path, *arguments, "--help")

    assert done.returncode == 0
    assert "xample" in done.stdout or arguments == ["import"]


def test_from_nothing_to_imported_records(tmp_path: Path) -> None:
    data = tmp_path / "data"
    migrated = run(data, "migrate", "--json")
    assert json.loads(migrated.stdout)["applied"] == [
        "models.0001_initial",
        "models.0002_wards",
        "keystore.0001_initial",
    ]
    assert json.loads(run(data, "migrate", "--json").stdout)["applied"] == []
    owner = ["--owner-email", "ada@acme.example", "--owner-name", "Ada"]
    made = run(data, "organization", "create", "acme", "Acme Water", *owner, "--json", given=PASSWORD + "\n")
    assert made.returncode == 0, made.stderr
    assert set(json.loads(made.stdout)) == {"organization", "owner"}
    taken = run(data, "organization", "create", "acme", "Acme", *owner, given=PASSWORD + "\n")
    assert (taken.returncode, taken.stderr) == (1, "fieldward: slug: Another organization has this slug.\n")
    weak = run(data, "organization", "create", "weak", "Weak", *owner, given="short\n")
    assert weak.returncode == 2
    assert "short\n" not in weak.stderr
    as_ada = ["--organization", "acme", "--as", "ada@acme.example"]
    bo = run(data, "user", "create", "bo@acme.example", "--name", "Bo", *as_ada, "--json", given=PASSWORD + "\n")
    assert bo.returncode == 0, bo.stderr
    as_bo = ["--organization", "acme", "--as", "bo@acme.example"]
    risen = run(data, "user", "create", "cy@acme.example", "--name", "Cy", "--role", "OWNER", *as_bo, given=PASSWORD)
    assert risen.returncode == 1
    assert "membership:assign" in risen.stderr
    own = run(data, "user", "suspend", "ada@acme.example", *as_ada)
    assert own.returncode == 1
    assert run(data, "user", "suspend", "bo@acme.example", *as_ada).returncode == 0
    back = run(data, "user", "suspend", "bo@acme.example", "--reinstate", *as_ada, "--json")
    assert json.loads(back.stdout)["status"] == "ACTIVE"

    missing = run(data, "import", "wqx-csv", str(RESULTS), "--project", "WELLS", *as_ada)

    assert (missing.returncode, missing.stderr) == (1, "fieldward: There is no project 'WELLS'.\n")


def test_an_import_reports_each_row_that_it_could_not_take_and_exits_with_3(tmp_path: Path) -> None:
    data = Path(os.path.realpath(tmp_path)) / "data"
    start_demo(data, free_port()).stop()
    arguments = ["--organization", "suncoast", "--project", "LAKES", "--as", "owner@suncoast.example"]

    first = run(data, "import", "wqx-csv", str(RESULTS), *arguments, "--json")
    second = run(data, "import", "wqx-csv", str(RESULTS), *arguments)

    assert first.returncode == second.returncode == 3
    report: dict[str, Any] = json.loads(first.stdout)
    assert report["rows"] == 246
    assert report["records_created"] + report["records_known"] == 179
    assert report["measurements_created"] + report["measurements_known"] == 240
    assert [one["line"] for one in report["rejections"]] == [242, 243, 244, 245, 246, 247]
    assert "0 records and 0 measurements created" in second.stdout
    assert "line 242, ActivityIdentifier: is missing" in second.stdout


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"FIELDWARD_PORT": "high"}, "FIELDWARD_PORT"),
        ({"FIELDWARD_DATABASE_URL": "postgres://u:secret@127.0.0.1/db"}, "FIELDWARD_KEYSTORE_URL"),
        ({"FIELDWARD_OWNER_DATABASE_URL": "postgres://u:secret@127.0.0.1/db"}, "FIELDWARD_OWNER_KEYSTORE_URL"),
        (
            {"FIELDWARD_DATABASE_URL": "mysql://u:secret@h/db", "FIELDWARD_KEYSTORE_URL": "mysql://u:secret@h/db"},
            "postgres://",
        ),
    ],
)
def test_a_wrong_setting_is_named_and_not_read_back(tmp_path: Path, settings: dict[str, str], said: str) -> None:
    done = run(tmp_path / "data", "migrate", **settings)

    assert done.returncode == 2
    assert said in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    url = "postgres://u:secret@127.0.0.1:9/db"
    names = ("DATABASE_URL", "KEYSTORE_URL", "OWNER_DATABASE_URL", "OWNER_KEYSTORE_URL")

    done = run(tmp_path / "data", "migrate", **{f"FIELDWARD_{name}": url for name in names})

    assert done.returncode == 1
    assert "can't be reached" in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "key-encryption-key").write_bytes(b"x" * 32)
    (data / "key-encryption-key").chmod(0o644)

    done = run(data, "user", "suspend", "a@b.example", "--organization", "x", "--as", "a@b.example")

    assert done.returncode == 1
    assert "key-encryption-key" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_inventory_names_every_encrypted_column(tmp_path: Path) -> None:
    rows = json.loads(run(tmp_path, "inventory", "--json").stdout)

    sealed = {f"{row['table']}.{row['column']}" for row in rows if row["encrypted"]}
    assert {"record.comment", "record.collector", "membership.name", "user_account.email"} <= sealed
    assert all(row["reads_logged"] for row in rows if row["encrypted"])


def test_an_organization_whose_owner_does_not_fit_is_not_made(tmp_path: Path) -> None:
    data = tmp_path / "data"
    run(data, "migrate")
    owner = ["--owner-email", "ada@acme.example", "--owner-name", "Ada"]

    refused = run(data, "organization", "create", "ACME", "Acme", *owner, given="too short\n")
    made = run(data, "organization", "create", "ACME", "Acme", *owner, given=PASSWORD + "\n")

    assert refused.returncode == 2
    assert made.returncode == 0, made.stderr


def test_a_database_that_was_not_migrated_is_said_in_one_line(tmp_path: Path) -> None:
    owner = ["--owner-email", "ada@acme.example", "--owner-name", "Ada"]

    done = run(tmp_path / "data", "organization", "create", "acme", "Acme", *owner, given=PASSWORD + "\n")

    assert done.returncode == 1
    assert "fieldward migrate" in done.stderr
    assert "Traceback" not in done.stderr
