"""A command begins with what it needs: each is found by its name, and most begin without the schema."""

import signal
import subprocess
import sys
import time

import typer

from fieldward.cli.app import COMMANDS, application
from tests.support.server import ROOT

WITH_SCHEMA = {"serve", "migrate", "demo", "schema", "inventory", "roles", "access", "errors"}
"""Commands that serve it or tell of it, and what stands in one module with them."""
LOADED = """
import sys
from fieldward.cli.app import application
application(*sys.argv[1:])
print("schema.api" in sys.modules)
"""


def test_each_command_is_found_by_its_name() -> None:
    everything = typer.main.get_command(application())

    assert set(everything.commands) == set(COMMANDS)  # type: ignore[attr-defined]
    for name in COMMANDS:
        assert list(typer.main.get_command(application(name)).commands) == [name]  # type: ignore[attr-defined]


def test_a_command_that_needs_no_schema_begins_without() -> None:
    names = COMMANDS.keys() - WITH_SCHEMA
    done = subprocess.run([sys.executable, "-c", LOADED, *names], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"


def test_what_is_no_command_is_told_from_those_that_are() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fieldward", "orgnization"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert "'organization'" in done.stderr
    assert "Traceback" not in done.stderr


WITHOUT = """
import sys
sys.modules["uvloop"] = None
sys.argv = ["fieldward", "serve"]
from fieldward.__main__ import main
main()
"""


def test_a_package_that_is_missing_is_named() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr == "fieldward: uvloop can't be imported: are the locked requirements installed?\n"


def test_who_is_stopped_while_it_is_imported_says_nothing() -> None:
    with subprocess.Popen([sys.executable, "-m", "fieldward", "schema"], cwd=ROOT, stderr=subprocess.PIPE) as process:
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)

    assert (process.returncode, said) == (130, b"")
