"""The quick starts: what is printed there is saved and run, in its order, against a real server."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final

import httpx
import pytest

from tests.support.codegen import codegen_environment
from tests.support.node import CLIENTS
from tests.support.programs import needs
from tests.support.server import Server, free_port, start_demo
from tests.support.world import SIGN_IN

PAGES: Final = Path(__file__).resolve().parents[2] / "docs" / "quickstart"
FILE: Final = re.compile(r"as\s+`([\w./-]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS: Final = re.compile(r"^```sh((?: \w+)*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INSTALLED: Final = re.compile(r"(@?[\w./-]+)(?:\[\w+\])?(?:==|@)(\d+)")
REQUESTS: Final = 60
"""How many one program may make in a minute."""
PERMISSIONS: Final = ["PROJECT_READ", "RECORD_READ", "RECORD_CREATE"]
MAKE: Final = """
mutation($input: CreateServiceAccountInput!) {
  createServiceAccount(input: $input) { token serviceAccount { id } errors { code message field } }
}
"""


FLOOD: Final = """
import sys
from collections import Counter

import httpx

from fieldward_http import URL, getting_in

with httpx.Client(**getting_in()) as client:
    for status, count in Counter(
        client.post(f"{URL}/graphql", json={"query": "{ __typename }"}).status_code for _ in range(int(sys.argv[1]))
    ).items():
        print(status, count)
"""


@dataclass(frozen=True)
class Program:
    """A service account of the demo, and how often it may be asked for."""

    url: str
    id: str
    secret: str

    def environment(self, *paths: Path) -> dict[str, str]:
        """Return a process environment in which the page's commands run."""
        return {
            "PATH": os.pathsep.join([*map(str, paths), os.environ["PATH"]]),
            "HOME": os.environ.get("HOME", "/"),
            "URL": self.url,
            "CLIENT_ID": self.id,
            "CLIENT_SECRET": self.secret,
        }

    def count(self) -> int:
        """Return how many records it sees."""
        shown = "{ records { totalCount } }"
        answer = httpx.post(
            f"{self.url}/graphql", json={"query": shown}, headers={"authorization": f"Bearer {self.secret}"}
        ).json()
        return int(answer["data"]["records"]["totalCount"])


@pytest.fixture(scope="module")
def limited_server() -> Iterator[Server]:
    """A demo with limits of how much may be asked for in a while, as one that is used has them."""
    directory = Path(tempfile.mkdtemp(prefix="fw"))
    limits = {"FIELDWARD_RATE_LIMIT_REQUESTS": str(REQUESTS), "FIELDWARD_RATE_LIMIT_COST": "1000000"}
    started = start_demo(directory / "demo", free_port(), **limits)
    try:
        yield started
    finally:
        started.stop()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def program(limited_server: Server) -> Program:
    """A program with the permissions that the pages name."""
    server = limited_server
    email, password = server.sign_ins["owner"]
    given: dict[str, Any] = {"email": email, "password": password}
    signed_in = httpx.post(f"{server.url}/graphql", json={"query": SIGN_IN, "variables": {"input": given}}).json()
    new = {"name": "Quick start", "permissions": PERMISSIONS, "reason": "A try."}
    soon = datetime.now(UTC) + timedelta(days=2)
    made = httpx.post(
        f"{server.url}/graphql",
        json={"query": MAKE, "variables": {"input": {**new, "expiresAt": soon.isoformat()}}},
        headers={"authorization": f"Bearer {signed_in['data']['signIn']['accessToken']}"},
    ).json()["data"]["createServiceAccount"]
    assert made["errors"] == []
    return Program(server.url, made["serviceAccount"]["id"].removeprefix("ServiceAccount:"), made["token"])


def save(page: str, directory: Path) -> list[str]:
    """Save the files of a page, and return their names."""
    found = FILE.findall(page)
    for name, text in found:
        (directory / name).write_text(text)
    return [name for name, _ in found]


def commands(page: str, is_run: Callable[[str], bool]) -> str:
    """Return those commands of a page whose marks are wanted, in their order."""
    return "\n".join(text for marks, text in COMMANDS.findall(page) if is_run(marks.strip()))


def run(script: str, directory: Path, environment: dict[str, str]) -> str:
    """Run commands, and return what they print."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


def test_the_permissions_that_the_pages_name_are_those_that_are_tried() -> None:
    for page in PAGES.glob("*.md"):
        text = " ".join(page.read_text().split())
        assert "`PROJECT_READ`, `RECORD_READ` and `RECORD_CREATE`" in text, page


IN_USE: Final = {"code": "CONFLICT", "detail": "IDEMPOTENCY_KEY_IN_USE", "message": "It is being worked on."}
BUSY: Final = {"message": "The service has too much to do.", "extensions": {"code": "UNAVAILABLE", "retryAfter": 2}}
DONE: Final = {"data": {"createRecord": {"record": {"id": "Record:1"}, "errors": []}}}
ANSWERS: Final[list[tuple[int, dict[str, str], dict[str, Any]]]] = [
    (200, {}, {"data": {"createRecord": {"record": None, "errors": [IN_USE]}}}),
    (503, {"Retry-After": "2"}, {"errors": [BUSY]}),
    (200, {}, DONE),
]
"""What is told who repeats a mutation: it is still being worked on, there is too much to do, and what became of it."""
REPEATING: Final = {
    "python.md": (
        "import httpx\nfrom fieldward_http import URL, getting_in\nwith httpx.Client(**getting_in()) as client:\n"
        "    print(client.post(f'{URL}/graphql', json={'query': 'mutation { createRecord }'}).text)\n",
        "python repeating.py",
    ),
    "typescript.md": (
        'import { endpoint, patientFetch } from "./built/fieldward.js";\n'
        'console.log(await (await patientFetch(endpoint, { method: "POST", body: "{}" })).text());\n',
        "npx tsc --module nodenext --target es2022 --strict --skipLibCheck --types node --outDir built fieldward.ts\n"
        "node repeating.js",
    ),
}


@dataclass
class Told:
    """A server that answers what it is to, in that order. keys: those that it was sent, and when."""

    url: str
    keys: list[tuple[str | None, float]] = field(default_factory=list)


@pytest.fixture
def busy() -> Iterator[Told]:
    """A server that answers a mutation at the third attempt."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            status, headers, said = 200, dict[str, str](), {"access_token": "x", "expires_in": 300}
            if self.path == "/graphql":
                status, headers, said = ANSWERS[len(told.keys)]
                told.keys.append((self.headers["Idempotency-Key"], time.monotonic()))
            body = json.dumps(said).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Type": "application/json", "Content-Length": len(body)}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        told = Told(f"http://127.0.0.1:{server.server_port}")
        serving = Thread(target=server.serve_forever)
        serving.start()
        yield told
        server.shutdown()
        serving.join()


@pytest.mark.parametrize("page", REPEATING)
def test_what_the_quick_starts_share_repeats_a_mutation_until_it_is_known_what_became_of_it(
    busy: Told, page: str, tmp_path: Path
) -> None:
    program, command = REPEATING[page]
    save((PAGES / page).read_text(), tmp_path)
    (tmp_path / command.split()[-1]).write_text(program)
    (tmp_path / "node_modules").symlink_to(CLIENTS / "node_modules")
    environment = Program(busy.url, "id", "secret").environment(Path(sys.executable).parent)

    printed = run(command, tmp_path, environment)

    assert json.loads(printed) == DONE
    (first, _), (second, busy_at), (third, done_at) = busy.keys
    assert first == second == third is not None
    # As Retry-After says.
    assert done_at - busy_at >= 2


@needs("curl", "jq")
def test_the_quick_start_by_curl_runs_as_it_is_printed(program: Program, tmp_path: Path) -> None:
    page = (PAGES / "curl.md").read_text()
    before = program.count()

    printed = run(commands(page, lambda marks: not marks), tmp_path, program.environment())

    assert program.count() == before + 1
    assert len((tmp_path / "records.jsonl").read_text().splitlines()) == before
    assert json.loads((tmp_path / "first.json").read_text())["data"]["createRecord"]["record"]["siteCode"] == "QS-1"
    assert str(before) in printed
    assert "\nCREATED QS-1\n" in printed


def test_the_quick_start_by_gql_runs_as_it_is_printed(program: Program, tmp_path: Path) -> None:
    page = (PAGES / "python.md").read_text()
    assert {"fieldward_http.py", "pull.py"} <= set(save(page, tmp_path))
    before = program.count()

    printed = run(commands(page, lambda marks: not marks), tmp_path, program.environment(Path(sys.executable).parent))

    assert printed.splitlines() == ["refused: CONFLICT", f"records: {before + 1}", "changed: CREATED QS-3"]
    assert program.count() == before + 1


def test_what_the_quick_start_shares_waits_where_it_is_told_to(program: Program, tmp_path: Path) -> None:
    save((PAGES / "python.md").read_text(), tmp_path)
    (tmp_path / "flood.py").write_text(FLOOD)
    begun = time.monotonic()

    printed = run(f"python flood.py {REQUESTS + 3}", tmp_path, program.environment(Path(sys.executable).parent))

    assert printed.splitlines() == [f"200 {REQUESTS + 3}"]
    assert time.monotonic() - begun > 1


def test_the_quick_start_by_a_generated_client_runs_as_it_is_printed(program: Program, tmp_path: Path) -> None:
    page = (PAGES / "python.md").read_text()
    assert {"fieldward_http.py", "operations.graphql", "pyproject.toml", "pull_typed.py"} <= set(save(page, tmp_path))
    before, environment = program.count(), program.environment(codegen_environment())

    printed = run(commands(page, lambda marks: marks == "codegen"), tmp_path, environment)
    # Whoever tries it again on the same day makes another record, and does not wait for the first one's change.
    again = run("timeout 60 python pull_typed.py", tmp_path, environment)

    for output, there in ((printed, before), (again, before + 1)):
        assert output.splitlines()[-3:] == [f"records: {there}", "created: QS-5", "changed: CREATED QS-5"]
    assert program.count() == before + 2


def test_the_quick_start_by_typescript_is_compiled_and_runs_as_it_is_printed(program: Program, tmp_path: Path) -> None:
    page = (PAGES / "typescript.md").read_text()
    assert len(save(page, tmp_path)) == 7
    (tmp_path / "node_modules").symlink_to(CLIENTS / "node_modules")
    before = program.count()

    printed = run(commands(page, lambda marks: not marks), tmp_path, program.environment())

    assert f"records: {before}\ncreated: QS-6\nrefused: INVALID_INPUT " in printed
    assert "\nchanged: CREATED QS-6\n" in printed
    assert "\nfirst page: " in printed
    assert program.count() == before + 1


def test_what_the_pages_install_is_what_is_tried() -> None:
    """Of the same major version, as far as one is named."""
    locked = json.loads((CLIENTS / "package.json").read_text())["devDependencies"]
    for _, text in COMMANDS.findall((PAGES / "typescript.md").read_text())[:1]:
        named = dict(INSTALLED.findall(text))
        assert named
        assert {name: locked[name].split(".")[0] for name in named} == named
    pinned = (CLIENTS / "requirements-codegen.txt").read_text() + "\ngql==4."
    for marks, text in COMMANDS.findall((PAGES / "python.md").read_text()):
        if "install" in marks:
            ((name, major),) = INSTALLED.findall(text)
            assert f"{name}=={major}." in pinned
