"""The command line as an operator uses it: real processes over a database of their own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from fieldward.cli.access import describe_decision
from fieldward.cli.app import application
from fieldward.demo.load import RESULTS
from resolvers.explain import Decision, Reason, Source
from schema.access_decision import DecisionSource
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
        ["errors"],
        ["roles"],
        ["import"],
        ["import", "wqx-csv"],
        ["import", "csv"],
        ["organization", "create"],
        ["user", "create"],
        ["user", "suspend"],
        ["access", "matrix"],
        ["access", "explain"],
        ["keys", "status"],
        ["keys", "rotate"],
        ["keys", "prune"],
        ["keys", "verify"],
        ["audit", "seal"],
        ["import", "sites"],
        ["audit", "key"],
        ["audit", "restart"],
        ["audit", "witness"],
        ["audit", "expire"],
        ["audit", "verify"],
        ["audit", "export"],
        ["export", "organization"],
        ["import", "archive"],
        ["erase", "person"],
        ["erase", "name"],
        ["erase", "organization"],
        ["incidents", "list"],
        ["incidents", "close"],
        ["alarms", "test"],
        ["check"],
        ["retention", "status"],
        ["retention", "run"],
        ["backup", "create"],
        ["backup", "list"],
        ["backup", "verify"],
        ["backup", "prune"],
        ["backup", "census"],
        ["restore"],
        ["verify-restore"],
    ],
)
def test_help_has_an_example(arguments: list[str]) -> None:
    # In this process: a command takes seconds to begin, and help does nothing.
    done = CliRunner().invoke(application(), [*arguments, "--help"], prog_name="fieldward")

    assert done.exit_code == 0
    assert "xample" in done.stdout or arguments == ["import"]


def test_help_is_printed_by_the_command(tmp_path: Path) -> None:
    done = run(tmp_path, "backup", "create", "--help")

    assert done.returncode == 0
    assert "Example: fieldward backup create" in done.stdout


def test_from_nothing_to_imported_records(tmp_path: Path) -> None:
    data = tmp_path / "data"
    migrated = run(data, "migrate", "--json")
    files = [*(ROOT / "models/migrations").glob("0*.py"), *(ROOT / "models/encryption/migrations").glob("0*.py")]
    assert sorted(json.loads(migrated.stdout)["applied"]) == sorted(
        f"{'keystore' if 'encryption' in one.parts else 'models'}.{one.stem}" for one in files
    )
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
    why = ["--reason", "Left in March"]
    own = run(data, "user", "suspend", "ada@acme.example", *as_ada, *why)
    assert own.returncode == 1
    for without in ([], ["--reason", " "]):
        assert run(data, "user", "suspend", "bo@acme.example", *as_ada, *without).returncode == 2
    assert run(data, "user", "suspend", "bo@acme.example", *as_ada, *why).returncode == 0
    back = run(data, "user", "suspend", "bo@acme.example", "--reinstate", *as_ada, *why, "--json")
    assert json.loads(back.stdout)["status"] == "ACTIVE"

    missing = run(data, "import", "wqx-csv", str(RESULTS), "--project", "WELLS", *as_ada)

    assert (missing.returncode, missing.stderr) == (1, "fieldward: There is no project 'WELLS'.\n")
    counted = run(data, "audit", "expire", "--dry-run", "--json")
    assert json.loads(counted.stdout) == {"dry_run": True, "organizations": {}}
    assert run(data, "audit", "expire").stdout == "Nothing may leave.\n"
    assert run(data, "retention", "status").stdout == "No period is set: everything is kept.\n"
    assert (
        run(data, "retention", "run", "--dry-run").stdout
        == "No period counts now: none is set, or none was a week ago.\n"
    )


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


def test_a_url_that_does_not_fit_is_named_by_its_variable(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        "keys",
        "status",
        FIELDWARD_DATABASE_URL="nonsense",
        FIELDWARD_KEYSTORE_URL="postgres://fieldward_app@127.0.0.1:1/fieldward_keys",
    )

    assert done.returncode == 2
    assert done.stderr == "fieldward: FIELDWARD_DATABASE_URL: Expected a URL that begins with postgres://.\n"


@pytest.mark.parametrize("arguments", [["status"], ["verify"], ["rotate", "--kek"]])
def test_keys_of_a_directory_without_a_database_are_not_made(tmp_path: Path, arguments: list[str]) -> None:
    done = run(tmp_path / "mistyped", "keys", *arguments)

    assert done.returncode == 1
    assert "there is no database in" in done.stderr
    assert "FIELDWARD_DATA_DIRECTORY" in done.stderr
    assert not (tmp_path / "mistyped").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["status", "--json", "--metrics"], "not both"),
        (["rotate", "--kek", "--share", "0.3"], "--kek and --signing touch no value"),
    ],
)
def test_options_that_contradict_each_other_are_refused(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = run(tmp_path, "keys", *arguments)

    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["verify", "--head", "kept.txt"], "kept.txt: Expected a text, an empty line and signatures."),
        (["verify", "--witness", "nobody"], "--witness: Expected a verifier key"),
        (["verify", "--rate", "1"], "Invalid value for '--rate'"),
        (["verify", "--head", "none.txt"], "Invalid value for '--head'"),
        (["export", "--organization", "acme"], "Missing option '--out'"),
    ],
)
def test_what_no_trail_can_be_verified_by_is_refused(tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "kept.txt").write_text("nothing\n")
    given = [str(tmp_path / one) if one.endswith(".txt") else one for one in arguments]

    done = run(tmp_path / "data", "audit", *given)

    assert done.returncode == 2
    assert said in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_bundle_does_not_take_the_place_of_a_file_that_is_there(tmp_path: Path) -> None:
    there = tmp_path / "bundle.zip"
    there.write_text("kept")

    done = run(tmp_path / "data", "audit", "export", "--organization", "acme", "--out", str(there))

    assert (done.returncode, there.read_text()) == (1, "kept")
    assert "is there already" in done.stderr


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "key-encryption-key").write_bytes(b"x" * 32)
    (data / "key-encryption-key").chmod(0o644)

    done = run(data, "user", "suspend", "a@b.example", "--organization", "x", "--as", "a@b.example", "--reason", "x")

    assert done.returncode == 1
    assert "key-encryption-key" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_inventory_names_every_encrypted_column(tmp_path: Path) -> None:
    tables = json.loads(run(tmp_path, "inventory", "--json").stdout)

    sealed = {
        f"{table['name']}.{column['name']}": column
        for table in tables
        for column in table["columns"]
        if column["storage"] == "ENCRYPTED"
    }
    assert {"record.comment", "record.collector", "membership.name", "user_account.email"} <= set(sealed)
    assert all(column["key"] for column in sealed.values())
    # What is secret is read by nobody.
    read = [column for column in sealed.values() if column["classification"] != "SECRET"]
    assert all(column["readsAreLogged"] for column in read)
    assert "authenticator.secret" in sealed


@pytest.mark.parametrize(
    ("arguments", "file"),
    [(["inventory"], "data-inventory.md"), (["errors"], "errors.md"), (["access", "matrix"], "access.md")],
)
def test_a_printed_page_is_compared_with_a_file(tmp_path: Path, arguments: list[str], file: str) -> None:
    page, other, missing = ROOT / "docs" / file, tmp_path / "other.md", tmp_path / "missing.md"
    other.write_text(page.read_text().replace("encrypted", "plain").replace("rf", "r").replace("refused", "taken"))

    printed = run(tmp_path, *arguments)
    same, differs, not_there = (run(tmp_path, *arguments, "--check", str(one)) for one in (page, other, missing))

    assert (printed.returncode, printed.stdout) == (0, page.read_text())
    assert (same.returncode, same.stdout, same.stderr) == (0, "", "")
    for done, named in ((differs, other), (not_there, missing)):
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"fieldward: {named} is not the ")
        assert f"`make {arguments[0]}` prints it." in done.stderr


def test_an_organization_whose_owner_does_not_fit_is_not_made(tmp_path: Path) -> None:
    data = tmp_path / "data"
    migrated = run(data, "migrate")
    assert migrated.returncode == 0, migrated.stderr
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


DECISION = """
query($principal: ID!, $on: ID!, $field: String, $permission: Permission) {
  accessDecision(principal: $principal, on: $on, field: $field, permission: $permission) {
    allowed permission scope otherwise reasons { source gives says role customRoleId expiresAt }
  }
}
"""


@dataclass(frozen=True)
class Explained:
    """Where the demo lies, ids of things in it, and the API's answers by whose access was asked about."""

    data: Path
    record: str
    project: str
    program: str
    answers: dict[str, Any]

    def run(self, *arguments: str, acting: str = "admin") -> subprocess.CompletedProcess[str]:
        """Ask on the command line."""
        asked = ["--organization", "clearwater", "--as", f"{acting}@clearwater.example", *arguments]
        return run(self.data, "access", "explain", *asked)


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory) -> Explained:
    """A demo that has ended, and what its API answered before."""
    data = Path(os.path.realpath(tmp_path_factory.mktemp("explained"))) / "data"
    server = start_demo(data, free_port())
    try:
        with httpx.Client(base_url=server.url) as http:
            email, password = server.sign_ins["admin"]
            sign_in = "mutation($input: SignInInput!) { signIn(input: $input) { accessToken } }"
            given = {"query": sign_in, "variables": {"input": {"email": email, "password": password}}}
            token = http.post("/graphql", json=given).json()["data"]["signIn"]["accessToken"]

            def ask(query: str, **variables: str) -> Any:
                headers = {"authorization": f"Bearer {token}"}
                body = {"query": query, "variables": variables}
                return http.post("/graphql", json=body, headers=headers).json()["data"]

            records = ask("{ records(first: 1, filter: {status: {eq: SUBMITTED}}) { nodes { id project { id } } } }")
            people = ask("{ users(first: 20) { nodes { id name } } serviceAccounts { nodes { id } } }")
            users = {one["name"]: one["id"] for one in people["users"]["nodes"]}
            record = records["records"]["nodes"][0]
            program = people["serviceAccounts"]["nodes"][0]["id"]
            viewer, owner = users["Vito Vance"], users["Olive Owens"]
            questions = {
                "viewer": {"principal": viewer, "on": record["id"], "field": "comment"},
                "program": {"principal": program, "on": record["id"], "permission": "RECORD_READ_CONFIDENTIAL"},
                "owner": {"principal": owner, "on": record["project"]["id"], "permission": "PROJECT_UPDATE"},
            }
            answers = {name: ask(DECISION, **asked)["accessDecision"] for name, asked in questions.items()}
    finally:
        server.stop()
    return Explained(data, record["id"], record["project"]["id"], program, answers)


def test_a_decision_is_explained_as_the_api_explains_it(explained: Explained) -> None:
    on, who = ["--on", explained.record], ["--principal", "viewer@clearwater.example"]
    program = ["--principal", explained.program, "--permission", "record:read_confidential", "--json"]
    owner = ["--principal", "owner@clearwater.example", "--on", explained.project, "--permission", "project:update"]

    by_field = explained.run(*who, *on, "--field", "comment", "--json")
    by_permission = explained.run(*on, *program)
    allowed = explained.run(*owner, "--json")

    assert (by_field.returncode, by_permission.returncode, allowed.returncode) == (4, 4, 0), by_field.stderr
    assert json.loads(by_field.stdout) == explained.answers["viewer"]
    assert by_permission.stdout, by_permission.stderr
    assert _instants(json.loads(by_permission.stdout)) == _instants(explained.answers["program"])
    assert json.loads(allowed.stdout) == explained.answers["owner"]


def test_a_decision_is_explained_in_words(explained: Explained) -> None:
    denied = explained.run("--principal", "viewer@clearwater.example", "--on", explained.record, "--field", "comment")
    allowed = explained.run("--principal", "viewer@clearwater.example", "--on", explained.record, "--field", "siteCode")

    assert denied.returncode == 4
    first, *lines = denied.stdout.splitlines()
    assert first == f"denied: record:read_confidential in {explained.project}"
    assert "- Role VIEWER in this project does not have record:read_confidential." in lines
    assert "+ They see the object, by record:read." in lines
    assert allowed.returncode == 0
    assert allowed.stdout.startswith(f"allowed: record:read in {explained.project}\n")
    assert denied.stderr == allowed.stderr == ""


@pytest.mark.parametrize(
    ("changed", "code", "said"),
    [
        ({"acting": "viewer"}, 1, "fieldward: This needs the permission access:read.\n"),
        ({"acting": "nobody"}, 1, "fieldward: Nobody with that address belongs to an organization 'clearwater'.\n"),
        ({"--principal": "owner@suncoast.example"}, 1, "fieldward: Nobody with that address belongs to"),
        ({"--principal": "Record:1"}, 2, "fieldward: principal: Expected the id of a"),
        ({"--on": "Record:018f0000-0000-7000-8000-000000000000"}, 1, "fieldward: on: There is nothing with this id.\n"),
        ({"--on": "junk"}, 2, "fieldward: on: Expected a global id"),
        ({"--field": "colour"}, 2, "fieldward: field: Record has no such field.\n"),
        ({"--permission": "record:read"}, 2, "fieldward: field: Expected either field or permission.\n"),
        ({"--permission": "record:fly"}, 2, "record:fly"),
    ],
)
def test_what_can_not_be_explained_is_said_and_answers_nothing(
    explained: Explained, changed: dict[str, str], code: int, said: str
) -> None:
    asked = {
        "acting": "admin",
        "--principal": "viewer@clearwater.example",
        "--on": explained.record,
        "--field": "comment",
        **changed,
    }
    acting = asked.pop("acting")

    done = explained.run(*(part for pair in asked.items() for part in pair), acting=acting)

    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_somebody_suspended_is_explained_by_their_address(explained: Explained) -> None:
    as_admin = ["--organization", "clearwater", "--as", "admin@clearwater.example"]
    asked = ["--principal", "reviewer@clearwater.example", "--on", explained.record, "--field", "comment"]
    assert explained.run(*asked).returncode == 0
    why = ["--reason", "Left in March"]
    assert run(explained.data, "user", "suspend", "reviewer@clearwater.example", *as_admin, *why).returncode == 0

    done = explained.run(*asked)

    assert done.returncode == 4
    assert "- The person is suspended." in done.stdout.splitlines()
    assert "+ Role REVIEWER in this project has record:read_confidential." in done.stdout.splitlines()


def test_the_name_of_a_role_writes_no_line_of_its_own() -> None:
    name = "Clerk.\n+ They may do anything\x1b[2J"
    reason = Reason(Source.PROJECT_ROLE, False, f"Role {name} in this project does not have record:read.", role=name)
    refused = Decision(allowed=False, permission="record:read", scope="ORGANIZATION", reasons=(reason,))

    said = describe_decision(DecisionSource(refused, None))

    assert said.splitlines() == [
        "denied: record:read in ORGANIZATION",
        "- Role Clerk.\\n+ They may do anything\\x1b[2J in this project does not have record:read.",
    ]


def _instants(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the answer with its times as times: two ways to write one moment are the same."""
    reasons = [
        {**one, "expiresAt": datetime.fromisoformat(one["expiresAt"]) if one["expiresAt"] else None}
        for one in answer["reasons"]
    ]
    return {**answer, "reasons": reasons}
