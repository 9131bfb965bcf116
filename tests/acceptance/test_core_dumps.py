"""A process that holds keys leaves no image of its memory behind, and what it starts is as it would be without it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server import ROOT, Server

CRASH = """
import ctypes, os, resource, sys
_, most = resource.getrlimit(resource.RLIMIT_CORE)
resource.setrlimit(resource.RLIMIT_CORE, (most, most))
if sys.argv[1] == "forbidden":
    from fieldward.core_dumps import forbid_core_dumps
    forbid_core_dumps()
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE)[0] == 0, flush=True)
if sys.argv[2] == "crash":
    os.abort()
os.execv(sys.executable, [sys.executable, "-c", "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"])
"""
"""Prints whether it is dumpable (PR_GET_DUMPABLE), and whether its limit is zero."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="prctl(2) is Linux's")


@pytest.mark.parametrize(("how", "told"), [("forbidden", "0 True\n"), ("allowed", "1 ")])
def test_a_crash_leaves_no_memory_behind(tmp_path: Path, how: str, told: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", CRASH, how, "crash"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        printed = process.stdout.read()
        _, status = os.waitpid(process.pid, 0)
        process.returncode = -os.WTERMSIG(status)

    assert printed.startswith(told)
    if how == "forbidden":
        assert not os.WCOREDUMP(status)
        assert not list(tmp_path.iterdir())


def test_what_a_process_starts_is_dumpable_again(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CRASH, "forbidden", "start another"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "0 True\n1\n"


def test_a_server_may_write_no_core(server: Server) -> None:
    limits = Path(f"/proc/{server.process.pid}/limits").read_text()

    [line] = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    assert line.split()[4] == "0"
