"""An audit entry written by hand, as nobody but a test or an attacker does."""

from typing import Any
from uuid import UUID

import asyncpg

from fieldward.embedded import Endpoint
from models.base import new_id


async def insert_entry(
    connection: asyncpg.Connection, organization: object, *, action: object = "test", **more: object
) -> object:
    """Insert an entry of kind CHANGE, with whatever more is given, and return its id."""
    values = ", ".join(f"'{value}'" for value in more.values())
    names = "".join(f", {name}" for name in more)
    return await connection.fetchval(
        f"insert into audit_entry (id, organization_id, kind, action, outcome, repeated, channel, request_id{names})"
        f" values (gen_random_uuid(), $1, 'CHANGE', $2, 'DONE', 0, 'JOB', gen_random_uuid()"
        f"{', ' + values if values else ''}) returning id",
        organization,
        action,
    )


async def open_incident(superuser: Endpoint, organization: UUID) -> UUID:
    """Insert an incident that nobody has answered, with the entry that says so, and return its id."""
    parameters: dict[str, Any] = dict(superuser.dsn_parameters())
    connection: asyncpg.Connection = await asyncpg.connect(**parameters)
    incident = new_id()
    try:
        async with connection.transaction():
            await connection.execute("select set_config('fieldward.organization_id', $1, true)", str(organization))
            await insert_entry(connection, organization)
            await connection.execute(
                "insert into incident (id, organization_id, created_at, rule, severity, status, key, opened_at,"
                " first_seen_at, last_seen_at, count, version)"
                " values ($1, $2, now(), 'denials', 'LOW', 'OPEN', gen_random_uuid()::text, now(), now(), now(), 1, 1)",
                incident,
                organization,
            )
    finally:
        await connection.close()
    return incident


async def let_in(superuser: Endpoint, organization: UUID, membership: UUID) -> None:
    """Make a member one who can get in, whatever became of them, with the entry that says so."""
    parameters: dict[str, Any] = dict(superuser.dsn_parameters())
    connection: asyncpg.Connection = await asyncpg.connect(**parameters)
    try:
        async with connection.transaction():
            await connection.execute("select set_config('fieldward.organization_id', $1, true)", str(organization))
            await insert_entry(connection, organization)
            await connection.execute("update membership set status = 'ACTIVE' where id = $1", membership)
    finally:
        await connection.close()
