"""What `docs/backup.md` and `deploy/backup/` say of commands, held to the commands."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fieldward.cli.app import app
from fieldward.settings import Settings

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "backup.md").read_text()
DEPLOY = ROOT / "deploy" / "backup"
COMMAND = re.compile(r"^(?:    |ExecStart=\S+ -m )(fieldward (?:.*\\\n)*.*)", re.MULTILINE)
OPTION = re.compile(r"--[a-z][a-z-]+")


def commands() -> list[str]:
    """Return the commands of the page and of the units."""
    texts = [PAGE, *(path.read_text() for path in sorted(DEPLOY.glob("*.service")))]
    return [one.replace("\\\n", " ") for text in texts for one in COMMAND.findall(text)]


@pytest.mark.parametrize("command", commands())
def test_a_command_has_the_options_that_it_is_shown_with(command: str) -> None:
    words = shlex.split(command.partition("#")[0].replace("[", "").replace("]", ""))[1:]
    called = words[: 2 if words[0] in {"backup", "audit", "keys"} else 1]

    done = CliRunner().invoke(app, [*called, "--help"], env={"COLUMNS": "200"})

    assert done.exit_code == 0, done.output
    assert set(OPTION.findall(command)) <= set(OPTION.findall(done.output)), command


def test_there_are_commands() -> None:
    assert len(commands()) > 8


def test_a_daily_prune_is_in_time() -> None:
    keep, most = Settings.model_fields["backup_retention_days"], Settings().thresholds.backup_kept_days

    assert keep.default + 1 < most
    assert f"{most} days" in PAGE
