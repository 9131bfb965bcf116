"""Fills a Fieldward database: people through the service's own use cases, the mass of rows by COPY.

COPY is the superuser's, who takes the audit's triggers off the tables for as long as one transaction fills them, so
these rows have no entries in the trail; foreign keys are not checked (`session_replication_role = replica`). Comments
are sealed as the service seals them, under the organization's own data key, each for its own cell.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import asyncpg

from auth.role import OrganizationRole, ProjectRole
from bench.dataset import Dataset, Record
from bench.server import Databases as Server
from bench.server import copy_rows
from fieldward.cli.environment import operator, services
from fieldward.database import Databases, migrate
from fieldward.settings import Settings
from models.base import new_id
from models.encryption.envelope import Cell, DataKey, seal
from models.encryption.keyring import active_keyring
from models.encryption.owner import organization_owner
from resolvers.account import NewPerson, create_organization, create_person

ORGANIZATION: Final = "basin"

_FILLED: Final = ("project", "project_membership", "device", "record", "measurement")
_PROJECT = (
    *("id", "organization_id", "code", "name", "status", "created_at", "version"),
    *("locations_are_sensitive", "locations_rewriting"),
)
_GRANT = ("id", "organization_id", "project_id", "membership_id", "role", "created_at")
_DEVICE = ("id", "organization_id", "platform", "model", "membership_id", "created_at", "status", "version")
_RECORD = (*Record._fields, "created_at", "received_at", "created_by_id", "contributor_ids", "location_is_coarse")
_MEASUREMENT = (
    "id",
    "organization_id",
    "project_id",
    "record_id",
    "position",
    "characteristic",
    "value",
    "unit",
    "created_at",
)


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks: a member who manages every project, and has no role in the organization as a whole."""

    email: str
    password: str


@dataclass(frozen=True, slots=True)
class _Made:
    organization_id: UUID
    membership_id: UUID
    key: DataKey


async def seed_fieldward(
    server: Server, database: str, dataset: Dataset, settings: Settings, *, with_measurements: bool = True
) -> Person:
    """Make and fill a database, and return who signs in to it."""
    await server.create_database(database, "fieldward_owner")
    async with server.superuser(database) as superuser:
        await superuser.execute(f"revoke all on database {database} from public")
        await superuser.execute(f"grant connect on database {database} to fieldward_service")
        await superuser.execute("alter schema public owner to fieldward_owner")
    await migrate(databases_of(server, database, owner=True), settings)
    person = Person(f"mara@{database.replace('_', '-')}.example", secrets.token_urlsafe(15))
    async with services(settings, databases_of(server, database, owner=False)) as built:
        owner = NewPerson(f"olive-{person.email}", secrets.token_urlsafe(15), "Olive Owens", OrganizationRole.OWNER)
        organization_id, _ = await create_organization(
            built, operator(), slug=ORGANIZATION, name="Basin Watch", owner=owner
        )
        manager = NewPerson(person.email, person.password, "Mara Mann", OrganizationRole.MEMBER)
        membership_id = await create_person(built, operator(), organization_id=organization_id, new=manager)
        key_owner = organization_owner(organization_id)
        await active_keyring().load([key_owner])
        made = _Made(organization_id, membership_id, active_keyring().current(key_owner))
        async with server.superuser(database) as superuser, superuser.transaction():
            await superuser.execute("set local session_replication_role = replica")
            for table in _FILLED:
                await superuser.execute(f"alter table {table} disable trigger change_insert")
            await _copy_all(superuser, dataset, made, with_measurements)
            for table in _FILLED:
                await superuser.execute(f"alter table {table} enable always trigger change_insert")
    await server.settle(database)
    return person


def databases_of(server: Server, database: str, *, owner: bool) -> Databases:
    """Return how Fieldward reaches one of its databases, and the keystore that all of them share."""
    role = server.postgres.owner if owner else server.postgres.service
    return Databases(main=role(database).dsn_parameters(), keystore=role("fieldward_keys").dsn_parameters())


async def _copy_all(connection: asyncpg.Connection, dataset: Dataset, made: _Made, with_measurements: bool) -> None:
    now, tenant = datetime.now(UTC), made.organization_id
    projects = [
        (one.id, tenant, one.code, one.name, one.status, now, 1, False, False) for one in dataset.all_projects()
    ]
    grants = [
        (new_id(), tenant, one.id, made.membership_id, ProjectRole.MANAGER.value, now) for one in dataset.all_projects()
    ]
    devices = [
        (one.id, tenant, one.platform, one.model, made.membership_id, now, "ACTIVE", 1) for one in dataset.all_devices()
    ]
    await copy_rows(connection, "project", _PROJECT, projects)
    await copy_rows(connection, "project_membership", _GRANT, grants)
    await copy_rows(connection, "device", _DEVICE, devices)
    await copy_rows(connection, "record", _RECORD, _records(dataset, made, now))
    if with_measurements:
        measurements = ((one[0], tenant, *one[2:], now) for one in dataset.all_measurements())
        await copy_rows(connection, "measurement", _MEASUREMENT, measurements)


def _records(dataset: Dataset, made: _Made, now: datetime) -> Iterator[tuple[Any, ...]]:
    tenant, author, key = made.organization_id, made.membership_id, made.key
    for record in dataset.all_records():
        cell = Cell(organization_id=tenant, table="record", column="comment", row_id=record.id)
        sealed = record._replace(organization_id=tenant, comment=seal(key, cell, record.comment))  # type: ignore[arg-type]
        yield (*sealed, now, now, author, [author], False)
