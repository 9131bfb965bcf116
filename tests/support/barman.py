"""A PostgreSQL of an operator's own, with Barman beside it by the settings of `deploy/backup/`, and what it restores.

The service is told of both servers, and goes to the one that takes writes. As a command this starts PostgreSQL on
what Barman has copied: `python -m tests.support.barman DIRECTORY`.
"""

import configparser
import getpass
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfile
from typing import Final

from drills.environment import programs_of
from fieldward.embedded_roles import OWNER, load_passwords
from fieldward.os_access import database_user
from tests.support.server import ROOT
from tests.support.standby import PairedMachine, Standby

DEPLOY: Final = ROOT / "deploy" / "backup"
SERVER: Final = "fieldward"
WAITS_S: Final = 120.0

# As the manual of Barman 3.19 has it, "PostgreSQL users".
_ROLES: Final = """
    create role barman login password {password};
    grant execute on function pg_backup_start(text, boolean), pg_backup_stop(boolean), pg_switch_wal(),
        pg_create_restore_point(text) to barman;
    grant pg_read_all_settings, pg_read_all_stats, pg_checkpoint to barman;
    create role streaming_barman login replication password {password};
"""


class BarmanMachine(PairedMachine):
    """The service over a PostgreSQL that Barman backs up, and over the one that it restores."""

    def __init__(self, directory: Path) -> None:
        self.kept = directory / "kept"
        self._barman = directory / "barman"
        self._configuration = directory / "barman.conf"
        self._programs = directory / "programs"
        super().__init__(
            directory,
            FIELDWARD_BACKUP_DIRECTORY=str(self.kept),
            FIELDWARD_BARMAN_SERVERS=SERVER,
            FIELDWARD_BARMAN_COMMAND=self.command,
        )
        self.into = directory / "b" / "postgres"

    @property
    def command(self) -> str:
        """How Barman is called."""
        return shlex.join([str(programs_of("barman") / "barman"), "-c", str(self._configuration)])

    @property
    def start_command(self) -> str:
        """What starts PostgreSQL on what Barman has restored."""
        return shlex.join([sys.executable, "-m", "tests.support.barman", str(self.into.parent)])

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Have the primary run, and Barman take its WAL; at the end stop whatever runs."""
        for one in (self.directory, self.into.parent):
            one.mkdir(mode=0o755, parents=True)
        for one in (self.kept, self._barman):
            one.mkdir(mode=0o700)
        try:
            self.primary.start()
            copyfile(self.directory / "a" / "database.json", self.directory / "b" / "database.json")
            (self.directory / "b" / "database.json").chmod(0o600)
            yield
        finally:
            self.stop()
            self.barman("receive-wal", "--stop", SERVER, code=None)
            self.primary.stop()
            if self.into.exists():
                # Takes over what the command started, and stops it.
                with Standby(self.into.parent):
                    pass

    def set_up(self) -> None:
        """Install what `deploy/backup/README.md` says, and have Barman stream."""
        passwords = load_passwords(self.directory / "a" / "database.json", is_first_start=False)
        self.primary._psql(_ROLES.format(password=_quoted(passwords[OWNER])))
        passfile = self.directory / "pgpass"
        passfile.write_text(f"*:*:*:*:{passwords[OWNER]}\n")
        passfile.chmod(0o600)
        reached = f"host={self.primary.socket_directory} port=5432 passfile={passfile}"
        hook = self._install_hook(f"{reached} user={OWNER} dbname=fieldward_keys")
        deployed = configparser.ConfigParser()
        deployed.read(DEPLOY / "barman.conf")
        deployed["barman"] = {
            "barman_home": str(self._barman),
            "barman_user": getpass.getuser(),
            "log_file": str(self.directory / "barman.log"),
            "path_prefix": f"{self._programs}:{self.primary.bin_directory}",
        }
        deployed[SERVER].update(
            conninfo=f"{reached} user=barman dbname=postgres",
            streaming_conninfo=f"{reached} user=streaming_barman",
            pre_backup_retry_script=str(hook),
        )
        with self._configuration.open("w") as file:
            deployed.write(file)
        self.barman("cron")
        end = time.monotonic() + WAITS_S
        while "receive-wal running: OK" not in self.barman("check", SERVER, code=None):
            assert time.monotonic() < end, self.barman("check", SERVER, code=None)
            time.sleep(0.5)
        self.barman("switch-wal", "--force", "--archive", "--archive-timeout", "60", SERVER)

    def barman(self, *arguments: str, code: int | None = 0) -> str:
        """Call Barman, and return what it says. code: how it has to end; None where that is no matter."""
        done = subprocess.run(
            [*shlex.split(self.command), *arguments],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of the service, of commands beside it, and of Barman."""
        made = super().environment(**more)
        made["PATH"] = f"{self._programs}:{self.primary.bin_directory}:{made['PATH']}"
        return made

    def _install_hook(self, owner: str) -> Path:
        """Install `before-backup` with its environment, and return where it lies. It becomes nobody else: Barman's user
        is the service's here."""
        environment = self.directory / "fieldward.environment"
        settings = self.environment()
        wanted = ("DATA_DIRECTORY", "DATABASE_URL", "KEYSTORE_URL", "PASSWORD_COST")
        environment.write_text("".join(f"FIELDWARD_{name}={settings[f'FIELDWARD_{name}']}\n" for name in wanted))
        text = (DEPLOY / "before-backup").read_text()
        lines = [f"owner='{owner}'" if line.startswith("owner=") else line for line in text.splitlines()]
        text = "\n".join(lines) + "\n"
        for was, own in (
            ("/etc/barman.d/fieldward.environment", str(environment)),
            ("/var/backups/fieldward-kept", str(self.kept)),
            ("/opt/fieldward", str(ROOT)),
            (".venv/bin/python", sys.executable),
        ):
            assert was in text
            text = text.replace(was, own)
        hook = self.directory / "before-backup"
        _install(hook, text)
        _install(self._programs / "sudo", '#!/bin/sh\nshift 3\nexec "$@"\n')
        reader = f'#!/bin/sh\ncd {ROOT}\nexec {sys.executable} -m tests.support.manifest_reader "$@"\n'
        _install(self._programs / "pg_verifybackup", reader)
        return hook


def _install(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def main(directory: Path) -> None:
    """Start PostgreSQL on what Barman has restored, and leave it running."""
    user = database_user()
    data = directory / "postgres"
    for path in (data, *data.rglob("*")):
        if user is not None:
            os.chown(path, user.uid, user.gid, follow_symlinks=False)
    data.chmod(0o700)
    Standby(directory).start()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
