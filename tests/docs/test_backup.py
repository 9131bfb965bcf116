"""What `docs/backup.md` and `deploy/backup/` say of commands, held to the commands."""

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fieldward.cli.app import application
from fieldward.database import credentials_of
from fieldward.settings import Settings
from tests.docs.test_failover import configuration
from tests.support.programs import needs

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "backup.md").read_text()
DEPLOY = ROOT / "deploy" / "backup"
README = (DEPLOY / "README.md").read_text()
UNIT = (DEPLOY / "fieldward-backup.service").read_text()
SCRIPT = (DEPLOY / "before-backup").read_text()
ENVIRONMENT = (DEPLOY / "fieldward.environment.example").read_text()
CONNECTIONS = ("conninfo", "streaming_conninfo")
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

    done = CliRunner().invoke(application(), [*called, "--help"], env={"COLUMNS": "200"})

    assert done.exit_code == 0, done.output
    assert set(OPTION.findall(command)) <= set(OPTION.findall(done.output)), command


def test_there_are_commands() -> None:
    assert len(commands()) > 8


def test_a_daily_prune_is_in_time() -> None:
    keep, most = Settings.model_fields["backup_retention_days"], Settings().thresholds.backup_kept_days

    assert keep.default + 1 < most
    assert f"{most} days" in PAGE


def test_the_unit_reads_what_the_service_reads_and_writes_where_it_may() -> None:
    service = (ROOT / "deploy" / "systemd" / "fieldward.service").read_text()
    reading = re.compile(r"^(?:EnvironmentFile|Environment=FIELDWARD_DATA_DIRECTORY)=(.*)$", re.MULTILINE)

    assert sorted(reading.findall(UNIT)) == sorted(reading.findall(service))
    # A path that is not there, and has no dash before it, keeps the unit from starting without a word of ours.
    assert re.findall(r"^ReadWritePaths=(.*)$", UNIT, re.MULTILINE) == ["-/var/lib/fieldward -/var/backups/fieldward"]
    assert "Environment=FIELDWARD_BACKUP_DIRECTORY=/var/backups/fieldward\n" in UNIT
    assert "install -d -m 0700 -o fieldward -g fieldward /var/backups/fieldward\n" in README


@needs("systemd-analyze")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    where = tmp_path / "etc" / "systemd" / "system"
    where.mkdir(parents=True)
    for name in ("fieldward-backup.service", "fieldward-backup.timer"):
        shutil.copy(DEPLOY / name, where / name)
    python = tmp_path / "opt" / "fieldward" / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)

    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", f"--root={tmp_path}", str(where / "fieldward-backup.timer")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert [line for line in done.stderr.splitlines() if "fieldward-backup" in line and "not found" not in line] == []


def test_the_readme_installs_each_file_where_the_others_look_for_it() -> None:
    installed = dict(re.findall(r"deploy/backup/([\w.-]+) (/etc/\S+[^/\s])$", README, re.MULTILINE))
    barman = configparser.ConfigParser()
    barman.read(DEPLOY / "barman.conf")

    # A hook that Barman does not ask how it ended keeps back no backup.
    assert "pre_backup_script" not in barman["fieldward"]
    assert installed["before-backup"] == barman["fieldward"]["pre_backup_retry_script"]
    assert f"NOPASSWD: {installed['before-backup']}'" in README
    assert f"\nenvironment={installed['fieldward.environment.example']}\n" in SCRIPT
    (kept,) = re.findall(r"^kept=(\S+)$", SCRIPT, re.MULTILINE)
    assert re.search(rf"install -d -m 2750 -o fieldward -g barman {kept}$", README, re.MULTILINE)
    assert {path.name for path in DEPLOY.iterdir()} - {"README.md"} <= set(re.findall(r"[\w-][\w.-]*\w", README)) | {
        "fieldward-backup.timer"
    }


def test_barman_is_let_into_the_reference_deployment_and_finds_its_slot_and_who_takes_writes() -> None:
    barman = configparser.ConfigParser()
    barman.read(DEPLOY / "barman.conf")
    settings = barman["fieldward"]
    patroni = configuration()
    said = {name: dict(one.split("=") for one in settings[name].split()) for name in CONNECTIONS}

    lines = [line.split() for line in patroni["postgresql"]["pg_hba"]]
    allowed = {(line[1], line[2]) for line in lines if line[0] == "hostssl"}
    assert {(said["conninfo"]["dbname"], said["conninfo"]["user"])} <= allowed
    assert {("replication", said["streaming_conninfo"]["user"])} <= allowed
    # What is not named there, Patroni drops, and makes on no other member.
    assert patroni["bootstrap"]["dcs"]["slots"][settings["slot_name"]] == {"type": "physical"}
    assert patroni["bootstrap"]["dcs"]["postgresql"]["use_slots"] is True
    (url,) = re.findall(r"^FIELDWARD_DATABASE_URL=(\S+)$", ENVIRONMENT, re.MULTILINE)
    for one in said.values():
        assert one["host"].split(",") == credentials_of(url)["host"]
        assert (one["target_session_attrs"], one["sslmode"]) == ("read-write", "verify-full")


def test_whoever_backs_up_the_keystore_writes_its_keys_anew_where_it_takes_writes() -> None:
    (owner,) = re.findall(r"^owner='(.*)'$", SCRIPT, re.MULTILINE)
    (url,) = re.findall(r"^FIELDWARD_KEYSTORE_URL=(\S+)$", ENVIRONMENT, re.MULTILINE)
    said = dict(one.split("=") for one in owner.split())

    assert said["host"].split(",") == credentials_of(url)["host"]
    assert said["dbname"] == credentials_of(url)["database"]
    assert said["target_session_attrs"] == credentials_of(url)["target_session_attrs"] == "read-write"


class Hook:
    """The hook of Barman in a directory, with stand-ins for the programs that it calls: each notes how."""

    def __init__(self, directory: Path) -> None:
        self.data, self.kept = directory / "data", directory / "kept"
        self.environment, self.calls = directory / "environment", directory / "calls"
        self.programs = directory / "programs"
        project = directory / "project"
        for one in (self.data, self.kept, self.programs, project / ".venv" / "bin"):
            one.mkdir(parents=True)
        self.environment.write_text(
            (DEPLOY / "fieldward.environment.example")
            .read_text()
            .replace("/var/lib/fieldward", str(self.data))
            .replace("verify-full", "verify-full&sslrootcert=/etc/ca.crt; touch $HOME `id`", 1)
        )
        text = SCRIPT
        for was, own in (
            ("/etc/barman.d/fieldward.environment", self.environment),
            ("/var/backups/fieldward-kept", self.kept),
            ("/opt/fieldward", project),
        ):
            assert was in text
            text = text.replace(was, str(own))
        self.script = directory / "before-backup"
        self._program(self.script, text)
        self._program(self.programs / "psql", f'#!/bin/sh\necho "psql $*" >> {self.calls}\n')
        self._program(self.programs / "sudo", f'#!/bin/sh\necho "sudo $*" >> {self.calls}\nshift 3\nexec "$@"\n')
        self._program(
            project / ".venv" / "bin" / "python",
            f'#!/bin/sh\necho "python $*" >> {self.calls}\nfor one in "$@"; do out=$one; done\n'
            """python3 -c 'import json, os; print(json.dumps(dict(os.environ)))' > "$out"\n""",
        )

    def run(self) -> int:
        """Run it as Barman does, and return its exit code."""
        environment = {"PATH": f"{self.programs}:{os.environ['PATH']}", "BARMAN_BACKUP_ID": "20260303T023000"}
        return subprocess.run([self.script], env=environment, capture_output=True, check=False).returncode

    def fail(self, program: str) -> None:
        """Have a program fail from now on."""
        self._program(self.programs / program, "#!/bin/sh\nexit 1\n")

    @staticmethod
    def _program(path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)


@pytest.fixture
def hook(tmp_path: Path) -> Hook:
    return Hook(tmp_path)


def test_before_a_backup_the_keys_are_written_anew_rows_are_counted_and_what_is_always_the_newest_is_kept(
    hook: Hook,
) -> None:
    (hook.data / "ways-in.json").write_text("{}")

    assert hook.run() == 0
    assert not (hook.kept / "destructions.jsonl").exists()
    (hook.data / "destructions.jsonl").write_text("1\n")
    assert hook.run() == 0

    assert {path.name for path in hook.kept.iterdir()} == {
        *("census-20260303T023000.json", "destructions.jsonl", "ways-in.json")
    }
    assert (hook.kept / "destructions.jsonl").read_text() == "1\n"
    assert {path.stat().st_mode & 0o777 for path in hook.kept.iterdir()} == {0o640}
    calls = hook.calls.read_text().splitlines()
    assert [one.split()[0] for one in calls] == ["psql", "sudo", "python"] * 2
    assert calls[0].endswith("--command=vacuum (full) wrapped_key")
    assert "postgres://" not in calls[0]
    assert calls[1] == f"sudo -n -u fieldward {hook.script} keep 20260303T023000"
    assert calls[2].startswith("python -m fieldward backup census --out ")


def test_what_the_settings_say_is_taken_as_it_stands_and_nothing_of_it_is_run(hook: Hook) -> None:
    assert hook.run() == 0

    given = json.loads((hook.kept / "census-20260303T023000.json").read_text())
    lines = hook.environment.read_text().splitlines()
    said = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    assert said["FIELDWARD_DATABASE_URL"].endswith("&sslmode=verify-full&sslrootcert=/etc/ca.crt; touch $HOME `id`")
    assert {name: given[name] for name in said} == said


@pytest.mark.parametrize("program", ["psql", "sudo", "cp"])
def test_where_something_of_it_fails_barman_makes_no_backup(hook: Hook, program: str) -> None:
    (hook.data / "destructions.jsonl").write_text("1\n")
    hook.fail(program)

    assert hook.run() == 63


def test_a_log_of_destroyed_keys_that_is_gone_keeps_back_the_backup(hook: Hook) -> None:
    (hook.data / "destructions.jsonl").write_text("1\n")
    assert hook.run() == 0
    (hook.data / "destructions.jsonl").unlink()

    assert hook.run() == 63
    assert (hook.kept / "destructions.jsonl").read_text() == "1\n"


def test_a_data_directory_that_is_not_there_keeps_back_the_backup(hook: Hook) -> None:
    hook.data.rmdir()

    assert hook.run() == 63
