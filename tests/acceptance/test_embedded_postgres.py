"""The embedded PostgreSQL, as a real server: what it keeps, whom it lets in, and what a killed process leaves."""

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from fieldward.embedded import (
    LARGEST_LOG,
    LONGEST_SOCKET_PATH,
    EmbeddedPostgres,
    EmbeddedPostgresError,
    Endpoint,
    program_directories,
)
from fieldward.embedded_roles import OWNER, SERVICE, SUPERUSER, setup_script
from fieldward.os_access import DatabaseUser, let_in, let_read

ROOT = Path(__file__).parents[2]
FAST = {"fsync": "off", "shared_buffers": "16MB"}
OWNER_SCRIPT = f"""
import sys, time
from pathlib import Path
from fieldward.embedded import EmbeddedPostgres
postgres = EmbeddedPostgres(Path(sys.argv[1]), settings={FAST!r})
postgres.start()
print(postgres.postmaster_pid, flush=True)
time.sleep(120)
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    """A short place of its own, since pytest's are long."""
    made = Path(tempfile.mkdtemp(prefix="fw"))
    yield made / "data"
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    """A server that tests only look at."""
    made = Path(tempfile.mkdtemp(prefix="fw"))
    with EmbeddedPostgres(made / "data", settings=FAST) as started:
        yield started
    shutil.rmtree(made)


@pytest.fixture
async def service(server: EmbeddedPostgres) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the service."""
    connection = await connect(server.service())
    yield connection
    await connection.close()


@pytest.fixture
def owning_process(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that owns the server in the directory, and has started it."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER_SCRIPT, str(directory)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()
    # What the test left running of it, if it failed.
    with EmbeddedPostgres(directory, settings=FAST):
        pass


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with us."""
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        yield process
        process.kill()


async def connect(endpoint: Endpoint) -> asyncpg.Connection:
    parameters: dict[str, Any] = {**endpoint.dsn_parameters()}
    connection: asyncpg.Connection = await asyncpg.connect(**parameters)
    return connection


async def ask(endpoint: Endpoint, statement: str) -> object:
    connection = await connect(endpoint)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def started_pid(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


async def test_a_second_start_finds_the_data_and_the_passwords_again(directory: Path) -> None:
    with EmbeddedPostgres(directory, settings=FAST) as first:
        await ask(first.owner(), "create table kept as select 7 as n")
        first_pid, before = first.postmaster_pid, first.owner()
        first.start()
        assert first.postmaster_pid == first_pid
    first.stop()

    assert first_pid is not None
    assert not is_running(first_pid)
    assert first.postmaster_pid is None
    with EmbeddedPostgres(directory, settings={**FAST, "max_connections": "33"}) as second:
        assert second.owner() == before
        assert await ask(second.owner(), "select n from kept") == 7
        assert await ask(second.owner(), "show max_connections") == "33"


async def test_it_is_set_up_as_promised(server: EmbeddedPostgres) -> None:
    connection = await connect(server.superuser())
    rows = await connection.fetch("select name, setting from pg_settings")
    methods = await connection.fetch("select distinct auth_method from pg_hba_file_rules")
    encoding, locale = await connection.fetchrow(  # type: ignore[misc]  # there is such a row
        "select pg_encoding_to_char(encoding), datlocale from pg_database where datname = 'fieldward'"
    )
    await connection.close()

    settings = {row["name"]: row["setting"] for row in rows}
    assert settings["listen_addresses"] == ""
    assert settings["data_checksums"] == "on"
    assert settings["wal_level"] == "replica"
    assert settings["jit"] == "off"
    assert settings["TimeZone"] == "UTC"
    assert settings["server_version"].startswith("18.")
    assert [row["auth_method"] for row in methods] == ["scram-sha-256"]
    assert (encoding, locale) == ("UTF8", "C.UTF-8")


@pytest.mark.parametrize("role", ["service", "owner", "superuser"])
async def test_a_wrong_password_is_refused(server: EmbeddedPostgres, role: str) -> None:
    endpoint: Endpoint = getattr(server, role)()

    with pytest.raises(asyncpg.InvalidPasswordError):
        await connect(replace(endpoint, password="wrong"))
    with pytest.raises((asyncpg.InvalidPasswordError, asyncpg.InterfaceError)):
        await connect(replace(endpoint, password=""))


def test_nothing_listens_on_tcp(server: EmbeddedPostgres) -> None:
    descriptors = [str(one.readlink()) for one in Path(f"/proc/{server.postmaster_pid}/fd").iterdir()]
    sockets = {one for one in descriptors if one.startswith("socket:")}

    listening = [
        line
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if f"socket:[{line.split()[9]}]" in sockets
    ]

    assert sockets
    assert listening == []


def test_what_is_on_disk_is_closed_to_others(server: EmbeddedPostgres) -> None:
    directory = server.data_directory.parent

    for path in (server.data_directory, server.socket_directory):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert path.stat().st_uid != 0
    for name in ("database.json", "lock", "postgresql.log", "postgresql.conf"):
        assert stat.S_IMODE((directory / name).stat().st_mode) == 0o600
    assert directory.stat().st_mode & 0o007 == 0
    assert not list(directory.glob("password-*"))


@pytest.mark.parametrize(
    "statement",
    [
        "create table mine (n int)",
        "create schema mine",
        "create temporary table mine (n int)",
        "select * from pg_authid",
        "create role mine",
        "create database mine",
        "set role fieldward_owner",
        "set log_min_messages = 'debug5'",
        "set session_replication_role = 'replica'",
        "select pg_read_file('postgresql.conf')",
        "copy (select 1) to program 'true'",
    ],
)
async def test_the_service_may_not(service: asyncpg.Connection, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await service.execute(statement)


async def test_the_service_reaches_our_two_databases_alone(server: EmbeddedPostgres) -> None:
    assert await ask(server.service("fieldward_keys"), "select current_user::text") == "fieldward_app"
    memberships = "select string_agg(roleid::regrole::text, ' ') from pg_auth_members where member = "
    assert await ask(server.superuser(), memberships + "'fieldward_app'::regrole") == "fieldward_service"
    await ask(server.superuser(), "create role stranger login password 'stranger'")

    for database in ("fieldward", "fieldward_keys"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connect(replace(server.superuser(database), user="stranger", password="stranger"))


async def test_the_owner_makes_tables_and_grants_and_is_no_superuser(server: EmbeddedPostgres) -> None:
    owner = await connect(server.owner("fieldward_keys"))
    await owner.execute("create table granted (n int); grant select on granted to fieldward_service")
    await owner.execute("create role another nologin; grant fieldward_service to another")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await owner.execute("select * from pg_authid")
    await owner.close()

    assert await ask(server.service("fieldward_keys"), "select count(*) from granted") == 0


def test_no_statement_of_the_setup_holds_a_password() -> None:
    passwords = {role: f"the-password-of-{role}" for role in (SUPERUSER, OWNER, SERVICE)}

    script = setup_script(passwords)

    assert "the-password-of" not in script
    assert script.count("'SCRAM-SHA-256$4096:") == len(passwords)


async def test_no_password_and_no_value_reaches_the_log_or_a_representation(server: EmbeddedPostgres) -> None:
    owner = await connect(server.owner())
    with pytest.raises(asyncpg.DataError):
        await owner.fetchval("select 'a-value-of-a-person'::int")
    with pytest.raises(asyncpg.PostgresSyntaxError):
        await owner.execute("alter role fieldward_app password 'a-password-of-somebody' nonsense")
    await owner.execute("create table once (email text primary key); insert into once values ('somebody@example.org')")
    with pytest.raises(asyncpg.UniqueViolationError):
        await owner.execute("insert into once values ($1)", "somebody@example.org")
    await owner.close()

    log = (server.data_directory.parent / "postgresql.log").read_text()
    assert "ready to accept connections" in log
    for word in ("a-value-of-a-person", "a-password-of-somebody", "somebody@example.org", "nonsense"):
        assert word not in log
    for endpoint in (server.service(), server.owner(), server.superuser()):
        assert endpoint.password not in log
        assert endpoint.password not in f"{endpoint} {endpoint!r} {server!r}"


def test_a_second_owner_is_refused_and_told_who_the_first_is(
    directory: Path, owning_process: subprocess.Popen[str]
) -> None:
    pid = started_pid(owning_process)

    with pytest.raises(EmbeddedPostgresError, match=f"in use by process {owning_process.pid}"):
        EmbeddedPostgres(directory, settings=FAST).start()

    assert is_running(pid)


async def test_what_a_killed_owner_left_running_is_taken_over(
    directory: Path, owning_process: subprocess.Popen[str]
) -> None:
    left = started_pid(owning_process)
    owning_process.send_signal(signal.SIGKILL)
    owning_process.wait()
    assert is_running(left)

    with EmbeddedPostgres(directory, settings=FAST) as postgres:
        assert await ask(postgres.service(), "select 1") == 1
        assert not is_running(left)
        ours = postgres.postmaster_pid

    assert ours is not None
    assert not is_running(ours)


def test_the_terminals_interrupt_does_not_reach_the_server(server: EmbeddedPostgres) -> None:
    assert server.postmaster_pid is not None
    assert os.getsid(server.postmaster_pid) != os.getsid(0)


async def test_nobody_changes_the_settings_past_our_file(server: EmbeddedPostgres) -> None:
    with pytest.raises(asyncpg.PostgresError, match="ALTER SYSTEM is not allowed"):
        await ask(server.superuser(), "alter system set listen_addresses = '*'")


async def test_a_crashed_server_whose_number_another_process_has_starts_again(
    directory: Path, stranger: subprocess.Popen[bytes]
) -> None:
    with EmbeddedPostgres(directory, settings=FAST) as postgres:
        await ask(postgres.owner(), "create table kept as select 7 as n")
        pid = postgres.postmaster_pid
        assert pid is not None
        recorded = (postgres.data_directory / "postmaster.pid").read_text()
        os.kill(pid, signal.SIGKILL)
        while is_running(pid):
            pass
        assert postgres.postmaster_pid is None
    for file in (postgres.data_directory / "postmaster.pid", postgres.socket_directory / ".s.PGSQL.5432.lock"):
        file.write_text(recorded.replace(str(pid), str(stranger.pid), 1))

    with EmbeddedPostgres(directory, settings=FAST) as again:
        assert await ask(again.owner(), "select n from kept") == 7

    assert stranger.poll() is None


async def test_a_long_path_gets_its_socket_elsewhere_and_leaves_nothing_there(directory: Path) -> None:
    long = directory / ("long-" * 20)
    with EmbeddedPostgres(long, settings=FAST) as postgres:
        assert await ask(postgres.service(), "select 1") == 1
        place = postgres.socket_directory
        assert len(str(place / ".s.PGSQL.5432")) <= LONGEST_SOCKET_PATH
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        assert (long / "run").readlink() == place

    assert not place.exists()


def test_a_start_that_fails_says_why_and_leaves_the_directory_free(directory: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match="no_such_setting"):
        EmbeddedPostgres(directory, settings={**FAST, "no_such_setting": "1"}).start()

    with EmbeddedPostgres(directory, settings={**FAST, "application_name": "it's \\ here"}) as postgres:
        assert postgres.postmaster_pid is not None
        postgres.superuser()


def test_open_missing_or_spoilt_passwords_are_refused(directory: Path) -> None:
    with EmbeddedPostgres(directory, settings=FAST):
        pass
    file = directory / "database.json"

    file.chmod(0o640)
    with pytest.raises(EmbeddedPostgresError, match="chmod 600"):
        EmbeddedPostgres(directory).start()
    file.chmod(0o600)
    file.write_text('{"postgres": ')
    with pytest.raises(EmbeddedPostgresError, match="does not hold the passwords"):
        EmbeddedPostgres(directory).start()
    file.unlink()
    with pytest.raises(EmbeddedPostgresError, match="is missing"):
        EmbeddedPostgres(directory).start()
    assert not file.exists()


def test_a_large_log_is_put_aside(directory: Path) -> None:
    directory.mkdir()
    log = directory / "postgresql.log"
    log.write_bytes(b"x" * (LARGEST_LOG + 1))

    with EmbeddedPostgres(directory, settings=FAST):
        assert log.stat().st_size < 10_000
        assert (directory / "postgresql.log.1").stat().st_size == LARGEST_LOG + 1


def test_a_path_that_a_shell_would_expand_is_refused(directory: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match="not plain"):
        EmbeddedPostgres(directory / "$(touch made)").start()


only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has another user to run it as")


@only_root
def test_as_root_a_private_directory_is_opened_to_the_databases_user_alone(directory: Path) -> None:
    private = directory.parent
    assert stat.S_IMODE(private.stat().st_mode) == 0o700

    with EmbeddedPostgres(directory, settings=FAST) as postgres:
        assert postgres.postmaster_pid is not None
        assert Path(f"/proc/{postgres.postmaster_pid}").stat().st_uid == pwd.getpwnam("fieldward-db").pw_uid

    assert private.stat().st_mode & 0o007 == 0
    assert succeeds_as("fieldward-db", "-x", private)
    assert not succeeds_as("fieldward-db", "-r", private)
    assert not succeeds_as("nobody", "-x", private)


@only_root
def test_letting_a_user_in_changes_nothing_for_others(directory: Path) -> None:
    nobody, daemon = (DatabaseUser(found.pw_uid, found.pw_gid) for found in map(pwd.getpwnam, ("nobody", "daemon")))
    directory.mkdir(mode=0o700)
    directory.parent.chmod(0o755)
    let_in(nobody, directory)
    directory.chmod(0o700)
    assert not succeeds_as("nobody", "-x", directory), "chmod has taken the right back"

    let_in(daemon, directory)

    assert succeeds_as("daemon", "-x", directory)
    assert not succeeds_as("nobody", "-x", directory)
    let_in(nobody, directory)
    assert succeeds_as("nobody", "-x", directory)
    assert succeeds_as("daemon", "-x", directory)
    assert not succeeds_as("mail", "-x", directory)


@only_root
def test_programs_installed_under_a_narrow_umask_are_opened_to_one_user(directory: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    (directory / "bin").mkdir(parents=True)
    program, text = directory / "bin" / "program", directory / "text"
    for path, mode in ((program, 0o700), (text, 0o600), (directory / "bin", 0o700), (directory, 0o700)):
        if not path.exists():
            path.touch()
        path.chmod(mode)

    let_in(DatabaseUser(nobody.pw_uid, nobody.pw_gid), directory)
    let_read(DatabaseUser(nobody.pw_uid, nobody.pw_gid), directory)

    assert succeeds_as("nobody", "-x", program)
    assert succeeds_as("nobody", "-r", text)
    assert not succeeds_as("nobody", "-x", text)
    assert not succeeds_as("nobody", "-w", text)
    assert not succeeds_as("daemon", "-x", program)


@only_root
async def test_a_private_installation_runs_and_stays_private(directory: Path) -> None:
    programs = copy_of_programs(EmbeddedPostgres(directory).bin_directory, directory.parent)
    for copied in program_directories(programs):
        for path in (copied, *copied.rglob("*")):
            path.chmod(path.stat().st_mode & 0o700)

    with EmbeddedPostgres(directory, settings=FAST, bin_directory=programs) as postgres:
        assert await ask(postgres.service(), "select 1") == 1

    directory.parent.chmod(0o755)
    assert not succeeds_as("nobody", "-x", programs / "postgres")


@only_root
def test_an_ordinary_user_runs_it_as_itself(directory: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    parent = directory.parent
    os.chown(parent, nobody.pw_uid, nobody.pw_gid)
    programs = EmbeddedPostgres(directory).bin_directory
    if not succeeds_as("nobody", "-x", programs / "postgres"):
        # The project lies in a private place: a copy for this user.
        programs = copy_of_programs(programs, parent)

    def use() -> None:
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)
        for _ in range(2):
            with EmbeddedPostgres(directory, settings=FAST, bin_directory=programs) as postgres:
                assert postgres.postmaster_pid is not None
                assert Path(f"/proc/{postgres.postmaster_pid}").stat().st_uid == nobody.pw_uid

    assert in_a_fork(use) == ""
    assert (directory / "postgres").stat().st_uid == nobody.pw_uid
    with pytest.raises(EmbeddedPostgresError, match="Start the service as the user who made it"):
        EmbeddedPostgres(directory, settings=FAST).start()


def succeeds_as(user: str, test: str, path: Path) -> bool:
    """Whether test(1) of a path succeeds for a user."""
    done = subprocess.run(
        ["/usr/bin/test", test, str(path)], user=user, group=pwd.getpwnam(user).pw_gid, extra_groups=[], check=False
    )
    return done.returncode == 0


def copy_of_programs(programs: Path, to: Path) -> Path:
    """Copy PostgreSQL as the wheel lays it out; return where its programs are."""
    site = programs.parents[2]
    for one in program_directories(programs):
        shutil.copytree(one, to / one.relative_to(site), symlinks=True, ignore=shutil.ignore_patterns("include"))
    (to / programs.relative_to(site).parts[0]).chmod(0o755)
    return to / programs.relative_to(site)


def in_a_fork(work: Callable[[], None]) -> str:
    """Run in a child of this process, which may change its user: no program is started, so none need be reachable."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        problem = ""
        try:
            os.close(reading)
            work()
        except BaseException as error:
            problem = f"{type(error).__name__}: {error}"
        os.write(writing, problem.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        problem = file.read()
    os.waitpid(child, 0)
    return problem
