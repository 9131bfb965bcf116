"""What `fieldward check --deploy` finds in a database: each rule provoked on a real one, and none on a good one."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr

from fieldward.check.database_rule import OF_ROLES, OF_SERVERS
from fieldward.check.deployment import (
    RefusedStartError,
    check_deployment,
    clock_findings,
    provider_findings,
    require_safe_databases,
)
from fieldward.check.finding import Finding
from fieldward.check.role import ROLE, judged, role_findings
from fieldward.check.server import durability_findings, server_findings
from fieldward.cli.environment import embedded_databases
from fieldward.database import Databases, migrate
from fieldward.embedded import EmbeddedPostgres
from fieldward.settings import Settings
from models.errors import UnavailableError
from tests.conftest import MEMORY
from tests.support.server import free_port
from tests.support.world import connect

PASSWORD = "a password of a role"


@dataclass
class House:
    """A PostgreSQL as `fieldward serve` makes it, which may be made worse."""

    postgres: EmbeddedPostgres
    settings: Settings
    port: int

    @property
    def databases(self) -> Databases:
        """How the service reaches it."""
        return Databases(
            {**self.postgres.service("fieldward").dsn_parameters(), "port": self.port},
            {**self.postgres.service("fieldward_keys").dsn_parameters(), "port": self.port},
        )

    def credentials(self, role: str = "fieldward_app", **more: Any) -> dict[str, Any]:
        """Return how a role reaches the data."""
        password = {} if role == "fieldward_app" else {"user": role, "password": PASSWORD}
        return {**self.databases.main, **password, **more}

    async def meddle(self, *statements: str, database: str = "fieldward") -> None:
        """Do something as the superuser."""
        superuser = await self.superuser(database)
        try:
            for statement in statements:
                await superuser.execute(statement)
        finally:
            await superuser.close()

    async def superuser(self, database: str = "fieldward") -> asyncpg.Connection:
        """Return a connection that may do everything."""
        return await connect(replace(self.postgres.superuser(database), port=self.port))

    async def looked_at(self, role: str = "fieldward_app", **more: Any) -> list[Finding]:
        """Return what is found about a role."""
        credentials = self.credentials(role, **more)
        connection = await asyncpg.connect(**credentials)
        try:
            return await role_findings(connection, credentials)
        finally:
            await connection.close()

    async def server(self, *, is_embedded: bool = True, **more: Any) -> list[Finding]:
        """Return what is found about the server."""
        connection = await asyncpg.connect(**self.credentials())
        try:
            return await server_findings(connection, is_embedded=is_embedded, **more)
        finally:
            await connection.close()

    @asynccontextmanager
    async def role(self, options: str = "", *grants: str) -> AsyncIterator[str]:
        """Yield a role that may more than it should."""
        name = "somebody"
        await self.meddle(
            f"create role {name} login in role fieldward_service {options} password '{PASSWORD}'", *grants
        )
        try:
            yield name
        finally:
            await self.meddle(
                "reassign owned by somebody to fieldward_owner", "drop owned by somebody", f"drop role {name}"
            )


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One for this module, which its tests put back as it was."""
    directory, port = Path(tempfile.mkdtemp(prefix="fw", dir=MEMORY)), free_port()
    postgres = EmbeddedPostgres(
        directory / "house",
        settings={"allow_alter_system": "on"},
    )
    settings = Settings(data_directory=tmp_path_factory.mktemp("keys"))
    with postgres:
        asyncio.run(migrate(embedded_databases(postgres, owner=True), settings))
        house = House(postgres, settings, 5432)
        # From here on by the network, too, on a port of its own.
        asyncio.run(house.meddle(f"alter system set port = {port}", "alter system set listen_addresses = '127.0.0.1'"))
        postgres._control("restart", 30, f"--log={directory / 'house' / 'postgresql.log'}")
        house.port = port
        yield house
    shutil.rmtree(directory, ignore_errors=True)


def names(found: list[Finding]) -> list[str]:
    return [one.rule.name for one in found]


async def test_nothing_is_found_in_the_embedded_database(house: House) -> None:
    assert await house.looked_at() == []
    assert await house.server() == []
    keystore = house.databases.keystore
    connection = await asyncpg.connect(**keystore)
    assert await role_findings(connection, keystore) == []
    assert await server_findings(connection, is_embedded=True, is_keystore=True) == []
    assert await clock_findings(connection) == []
    await connection.close()
    await require_safe_databases(house.databases)


@pytest.mark.parametrize(
    ("rule", "options", "grants"),
    [
        ("role-superuser", "superuser", []),
        ("role-bypasses-walls", "bypassrls", []),
        ("role-bypasses-walls", "", ["grant set on parameter session_replication_role to somebody"]),
        ("role-owns", "", ["create table belongings ()", "alter table belongings owner to somebody"]),
        ("role-owns", "", ["grant fieldward_owner to somebody"]),
        ("role-owns", "", ["grant fieldward_owner to somebody with inherit false, set true"]),
        ("role-makes-others", "createrole", []),
        ("role-makes-others", "createdb", []),
        ("role-makes-others", "replication", []),
        ("role-reaches-out", "", ["grant pg_read_all_data to somebody"]),
        ("role-reaches-out", "", ["grant pg_execute_server_program to somebody"]),
    ],
)
async def test_a_role_that_may_too_much_is_found_and_production_does_not_start(
    house: House, rule: str, options: str, grants: list[str]
) -> None:
    async with house.role(options, *grants) as name:
        assert names(await house.looked_at(name)) == [rule] or rule == "role-owns"
        assert rule in names(await house.looked_at(name))
        with pytest.raises(RefusedStartError) as raised:
            await require_safe_databases(Databases(house.credentials(name), house.databases.keystore))
        assert rule in names([*raised.value.findings])
        assert PASSWORD not in str(raised.value)
        await house.meddle("drop table if exists belongings")


@pytest.mark.parametrize("inherit", ["true", "false"])
@pytest.mark.parametrize(
    ("attribute", "said"),
    [("createrole", "makes roles"), ("createdb", "makes databases"), ("replication", "replicates")],
)
async def test_who_makes_others_by_membership_is_found(house: House, attribute: str, said: str, inherit: str) -> None:
    """`set role` reaches what is not inherited, through others, too."""
    async with house.role(
        "",
        f"create role maker {attribute}",
        "create role between in role maker",
        f"grant between to somebody with inherit {inherit}, set true",
    ) as name:
        try:
            (found,) = await house.looked_at(name)
        finally:
            await house.meddle("drop role between", "drop role maker")

    assert found.rule.name == "role-makes-others"
    assert found.where == f"somebody in fieldward {said} as a member of maker"


async def test_a_superuser_by_membership_is_found(house: House) -> None:
    async with house.role("", "create role mighty superuser", "grant mighty to somebody") as name:
        assert "role-bypasses-walls" in names(await house.looked_at(name))
        await house.meddle("revoke mighty from somebody", "drop role mighty")


async def test_who_watches_the_server_alone_is_no_finding(house: House) -> None:
    async with house.role("", "grant pg_monitor to somebody") as name:
        assert await house.looked_at(name) == []


async def test_the_owner_is_not_let_in_as_the_service(house: House) -> None:
    owner = {**house.postgres.owner("fieldward").dsn_parameters(), "port": house.port}

    with pytest.raises(RefusedStartError) as raised:
        await require_safe_databases(Databases(owner, house.databases.keystore))
    assert {"role-owns", "role-makes-others"} <= set(names([*raised.value.findings]))


async def test_a_plain_connection_to_another_machine_is_found_and_one_by_tls_is_not(house: House) -> None:
    """This PostgreSQL is built without TLS: of an encrypted connection it is judged what it would tell."""
    here = house.credentials(host="127.0.0.1")
    elsewhere = {**here, "host": "db.example"}
    connection = await asyncpg.connect(**here, ssl=False)
    try:
        assert names(await role_findings(connection, elsewhere)) == ["connection-plain"]
        assert names(await role_findings(connection, {**here, "host": ["127.0.0.1", "db2.example"]})) == [
            "connection-plain"
        ]
        assert await role_findings(connection, here) == []
        told = dict((await connection.fetch(ROLE))[0])
    finally:
        await connection.close()
    encrypted = {**told, "is_encrypted": True, "tls": "TLSv1.3"}
    assert [*judged(encrypted, "scram-sha-256:x", elsewhere, may_switch=False)] == []


@pytest.mark.parametrize(("method", "rule"), [("trust", "connection-trusted"), ("md5", "connection-md5")])
async def test_who_is_let_in_without_a_good_proof_is_found(house: House, method: str, rule: str) -> None:
    hba = house.postgres.data_directory / "pg_hba.conf"
    before = hba.read_text()
    try:
        hba.write_text(f"local all somebody {method}\n{before}")
        await house.meddle("select pg_reload_conf()", "select pg_sleep(0.3)")
        await house.meddle(
            "set client_min_messages = 'error'",
            *(["set password_encryption = 'md5'"] if method == "md5" else []),
            f"create role somebody login in role fieldward_service password '{PASSWORD}'",
        )
        found = await house.looked_at("somebody")
    finally:
        hba.write_text(before)
        await house.meddle("drop role if exists somebody", "select pg_reload_conf()", "select pg_sleep(0.3)")
    assert names(found) == [rule]


@pytest.mark.parametrize(
    ("rule", "statement"),
    [
        ("password-encryption", "alter role fieldward_app set password_encryption = 'md5'"),
        ("statements-logged", "alter role fieldward_app set log_statement = 'all'"),
        ("statements-logged", "alter role fieldward_app set log_statement = 'mod'"),
        ("statements-logged", "alter role fieldward_app set debug_print_plan = on"),
        ("errors-logged", "alter role fieldward_app set log_min_messages = 'warning'"),
        ("not-durable", "alter role fieldward_app set synchronous_commit = off"),
        ("row-security-off", "alter role fieldward_app set row_security = off"),
        ("public-makes", "grant create on schema public to public"),
        ("public-connects", "grant connect on database fieldward to public"),
        ("walls-down", "alter table record no force row level security"),
        ("walls-down", "alter table record disable trigger change_update"),
        ("extension-unneeded", "create extension vector"),
    ],
)
async def test_what_is_wrong_with_a_server_is_found(house: House, rule: str, statement: str) -> None:
    undo = {
        "public-makes": "revoke create on schema public from public",
        "public-connects": "revoke all on database fieldward from public",
        "extension-unneeded": "drop extension vector",
    }
    walls = ("alter table record force row level security", "alter table record enable always trigger change_update")
    others = () if rule != "errors-logged" else ("alter role fieldward_app set log_error_verbosity = 'default'",)
    try:
        await house.meddle(statement, *others)
    except asyncpg.PostgresError as error:
        if rule == "extension-unneeded":
            pytest.skip(f"this PostgreSQL has no such extension: {type(error).__name__}")
        raise
    try:
        found = await house.server()
    finally:
        await house.meddle(
            *([undo[rule]] if rule in undo else []),
            *(walls if rule == "walls-down" else []),
            "alter role fieldward_app reset all",
            "alter role fieldward_app set log_min_messages = 'log'",
        )
    assert names(found) == [rule]
    assert await house.server() == []


async def test_values_of_statements_that_are_logged_by_their_time_are_found(house: House) -> None:
    await house.meddle(
        "alter role fieldward_app set log_min_duration_statement = 100",
        "alter role fieldward_app set log_parameter_max_length = -1",
    )
    found = await house.server()
    await house.meddle("alter role fieldward_app set log_parameter_max_length = 0")
    quiet = await house.server()
    await house.meddle("alter role fieldward_app reset all", "alter role fieldward_app set log_min_messages = 'log'")

    assert (names(found), quiet) == (["statements-logged"], [])


async def test_what_one_machine_alone_lacks_is_found_of_a_server_of_ones_own(house: House) -> None:
    found = await house.server(is_embedded=False)

    assert sorted(names(found)) == ["connections-unlogged", "no-archive", "no-standby"]


@pytest.mark.parametrize(
    ("slots", "seen"),
    [
        ({}, "none"),
        # A standby has what was deleted deleted, too; and a slot that nobody takes anything by archives nothing.
        ({"barman": "", "db2": "db2"}, "barman (taken by nobody), db2 (taken by db2)"),
        ({"barman": "barman_receive_wal", "db2": "db2"}, None),
        ({"kept": "pg_receivewal"}, None),
    ],
)
def test_a_server_that_streams_to_who_keeps_it_is_archived(slots: dict[str, str], seen: str | None) -> None:
    found = [*durability_findings({**GOOD, "archive_mode": "off"}, "fieldward", slots, is_embedded=False)]

    expected = [] if seen is None else [f"fieldward: archive_mode = off, and slots: {seen}"]
    assert [one.where for one in found] == expected


async def test_who_takes_wal_by_a_slot_is_seen_by_the_service_s_own_role(house: House, tmp_path: Path) -> None:
    to = replace(house.postgres.superuser(), port=house.port)
    reached = f"host={to.host} port={to.port} user={to.user} application_name=barman_receive_wal"
    reached += " target_session_attrs=read-write"
    receive = [str(house.postgres.bin_directory / "pg_receivewal"), "--dbname", reached, "--slot", "barman"]
    environment = {"PATH": os.defpath, "PGPASSWORD": to.password}
    await house.meddle("select pg_create_physical_replication_slot('barman', true)", database="postgres")

    async def archived() -> list[str]:
        return [one.where for one in await house.server(is_embedded=False) if one.rule.name == "no-archive"]

    before = await archived()
    receiver = await asyncio.create_subprocess_exec(*receive, "--directory", str(tmp_path), env=environment)
    try:
        during = await _until(archived, lambda found: not found)
    finally:
        receiver.terminate()
        await receiver.wait()
    after = await _until(archived, bool)
    await house.meddle("select pg_drop_replication_slot('barman')", database="postgres")

    assert before == after == ["fieldward: archive_mode = off, and slots: barman (taken by nobody)"]
    assert during == []


async def _until(ask: Callable[[], Awaitable[list[str]]], is_so: Callable[[list[str]], bool]) -> list[str]:
    """Return the first answer that is so, or the last one of half a minute."""
    for _ in range(150):
        if is_so(found := await ask()):
            break
        await asyncio.sleep(0.2)
    return found


async def test_an_old_server_is_found_in_its_time(house: House) -> None:
    assert names(await house.server(today=date(2030, 11, 15))) == ["old-server"]
    assert await house.server(today=date(2030, 11, 14)) == []


GOOD = {
    **{"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "synchronous_standby_names": "a"},
    **{"data_checksums": "on", "archive_mode": "on", "ssl": "on", "ssl_min_protocol_version": "TLSv1.2"},
}


@pytest.mark.parametrize(
    ("rule", "changed"),
    [
        (None, {}),
        (None, {"synchronous_commit": "remote_apply"}),
        ("not-durable", {"fsync": "off"}),
        ("not-durable", {"full_page_writes": "off"}),
        ("not-durable", {"synchronous_commit": "off"}),
        ("not-durable", {"synchronous_commit": "local"}),
        ("no-checksums", {"data_checksums": "off"}),
        ("no-standby", {"synchronous_standby_names": ""}),
        ("no-archive", {"archive_mode": "off"}),
        ("old-tls", {"ssl_min_protocol_version": "TLSv1.1"}),
    ],
)
def test_what_only_a_restart_changes_is_judged_by_the_settings(rule: str | None, changed: dict[str, str]) -> None:
    found = [*durability_findings({**GOOD, **changed}, "fieldward", {}, is_embedded=False)]

    assert names(found) == ([rule] if rule is not None else [])


async def test_a_database_that_is_away_is_found(house: House) -> None:
    nobody = {**house.credentials(), "host": "127.0.0.1", "port": free_port()}
    unresolved = {**house.credentials(), "host": "nowhere.invalid"}

    with pytest.raises(UnavailableError):
        await require_safe_databases(Databases(nobody, house.databases.keystore))
    for away in (nobody, unresolved):
        found = await check_deployment(house.settings, Databases(away, house.databases.keystore), is_embedded=True)
        assert next(one.where for one in found if one.rule.name == "database-away").startswith("fieldward (")
    # One that has no tables yet lets in, and lacks its walls.
    await house.meddle(
        "create database empty owner fieldward_owner", "revoke all on database empty from public", database="postgres"
    )
    await house.meddle("grant connect on database empty to fieldward_service", database="postgres")
    empty = house.credentials(database="empty")
    found = await check_deployment(house.settings, Databases(empty, house.databases.keystore), is_embedded=True)
    await house.meddle("drop database empty", database="postgres")
    assert "walls-down" in names(found)


async def test_a_key_provider_that_is_away_is_found(house: House) -> None:
    away = house.settings.model_copy(
        update={
            "key_provider": "vault-transit",
            "vault_url": f"http://127.0.0.1:{free_port()}",
            "vault_token": SecretStr("hvs.x"),
            "vault_key": "fieldward",
        }
    )

    assert names(await provider_findings(away)) == ["key-provider-away"]
    assert await provider_findings(house.settings) == []


def test_each_rule_about_databases_is_provoked_here() -> None:
    text = Path(__file__).read_text()

    # Each of these takes a library that no test installs.
    elsewhere = {"extension-reaches-out"}
    for rule in (*OF_ROLES, *OF_SERVERS):
        assert f'"{rule.name}"' in text or rule.name in elsewhere, rule.name
