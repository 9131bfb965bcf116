"""The rows by which somebody is signed in, put back after they signed themselves out: drawn operations do that soon,
and all that follows would be refused alike.
"""

import json
from typing import Any

from auth.token import AccessClaims
from tests.support.perturbation import unguarded
from tests.support.world import World, connect

Kept = dict[str, dict[str, Any]]
"""Rows as JSON, by table."""


async def rows_of(world: World, claims: AccessClaims) -> Kept:
    """Return the rows of a session: its own, the membership's and the account's."""
    found = {}
    for table, where, value in (
        ("session", "id = $1", claims.session_id),
        ("membership", "id = (select membership_id from session where id = $1)", claims.session_id),
        ("user_account", "id = $1", claims.user_id),
    ):
        (row,) = await world.sql(f"select to_jsonb(t)::text as content from {table} t where {where}", value)
        found[table] = json.loads(row["content"])
    return found


async def put_back(world: World, kept: Kept) -> None:
    """Make the rows what they were."""
    connection = await connect(world.superuser)
    try:
        async with connection.transaction(), unguarded(connection):
            for table, row in kept.items():
                columns = ", ".join(f'"{name}"' for name in row)
                text = f"update {table} t set ({columns}) = (select {columns} from jsonb_populate_record(t, $1))"
                done = await connection.execute(f"{text} where id = $2", json.dumps(row), row["id"])
                assert done == "UPDATE 1", table
    finally:
        await connection.close()
