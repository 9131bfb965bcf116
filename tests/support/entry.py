"""An audit entry written by hand, as nobody but a test or an attacker does."""

import asyncpg


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
