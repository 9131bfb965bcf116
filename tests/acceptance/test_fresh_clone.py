"""The README's first command on a fresh machine: the project's own files alone, an empty home directory, GNU make."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import httpx

from tests.acceptance.test_demo import ask, first_query, is_running, token_of
from tests.support.server import ROOT, SIGN_IN, Server, free_port


def copy_of_the_project(target: Path) -> None:
    """Copy what git tracks, as it stands, and nothing that a run of ours has left."""
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, tracked.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def test_make_demo_on_a_fresh_machine_prints_sign_ins_that_answer_the_first_query(tmp_path: Path) -> None:
    project, home = tmp_path / "fieldward", tmp_path / "home"
    home.mkdir()
    copy_of_the_project(project)
    port = free_port()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("FIELDWARD_", "VIRTUAL"))}
    log = tmp_path / "log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            ["make", "demo"],
            cwd=project,
            env={**inherited, "HOME": str(home), "FIELDWARD_PORT": str(port)},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    assert process.stdout is not None
    found = []
    with process.stdout as printed:
        for line in printed:
            if match := SIGN_IN.match(line):
                found.append(match.groups())
            if line.startswith("Press Ctrl-C"):
                break
        else:
            raise AssertionError(log.read_text())
    sign_ins = {role.lower(): (email, password) for role, email, password in reversed(found)}
    server = Server(process, f"http://127.0.0.1:{port}", sign_ins, log, printed=log)
    try:
        answer = ask(server, first_query(), token=token_of(server, "manager"))
        assert "errors" not in answer
        assert len(answer["data"]["records"]["nodes"]) == 5
        assert httpx.get(f"{server.url}/graphiql").status_code == 200
        postmaster = int((project / ".fieldward" / "postgres" / "postmaster.pid").read_text().split("\n", 1)[0])
    finally:
        # A terminal's Ctrl-C reaches make and all that it started.
        os.killpg(process.pid, signal.SIGINT)
        process.wait(30)
    assert not is_running(postmaster)
    assert (project / ".fieldward").stat().st_mode & 0o007 == 0
