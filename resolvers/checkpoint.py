"""The signed heads as anybody may see them: the newest of each log, with what witnesses said of it."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from models.ledger.checkpoint import Head, Note
from models.ledger.tree import Fetching
from models.reading import OneStatement
from models.transaction import Tenant

COSIGNED_WITHIN_S: Final = 60
"""Seconds by which a head may be older than the newest one and still be shown in its place, since it is cosigned."""

_SHOWN: Final = f"""
    with newest as (
        select tree_size, sealed_at from sealed_batch where organization_id = $1 order by tree_size desc limit 1
    ), cosigned as (
        select tree_size from cosignature where organization_id = $1 order by tree_size desc limit 1
    ), shown as (
        select b.tree_size, b.checkpoint from newest n join sealed_batch b on b.organization_id = $1
         and b.tree_size in (n.tree_size, (select tree_size from cosigned))
         and b.sealed_at >= n.sealed_at - interval '{COSIGNED_WITHIN_S} seconds'
        order by b.tree_size in (select tree_size from cosigned) desc limit 1
    )
    select s.checkpoint || coalesce((select string_agg(c.line, '' order by c.witness) from cosignature c
                                     where c.organization_id = $1 and c.tree_size = s.tree_size), '')
    from shown s
"""
_AT: Final = """
    select b.checkpoint || coalesce((select string_agg(c.line, '' order by c.witness) from cosignature c
                                     where c.organization_id = $1 and c.tree_size = b.tree_size), '')
    from sealed_batch b where b.organization_id = $1 and b.tree_size = $2
"""


async def shown_checkpoint(organization_id: UUID) -> str | None:
    """Return the checkpoint to show of a log: the newest that witnesses have cosigned, or else the newest.

    None where there is none, or no such log.

    Raises:
        UnavailableError: the database is away.
    """
    async with OneStatement(Tenant(organization_id=organization_id)) as connection:
        found: str | None = await connection.fetchval(_SHOWN, organization_id)
    return found


@dataclass(frozen=True, slots=True)
class SignedRoot:
    """A signed head, and its checkpoint with the signatures below it."""

    head: Head
    checkpoint: str


async def newest_checkpoint(connection: Fetching, organization_id: UUID) -> SignedRoot | None:
    """Return the newest head of a log, from a connection that is set to its organization; None where there is none."""
    rows = await connection.fetch(
        "select tree_size from sealed_batch where organization_id = $1 order by tree_size desc limit 1", organization_id
    )
    if not rows:
        return None
    [row] = await connection.fetch(_AT, organization_id, rows[0][0])
    return SignedRoot(Head.parse(Note.parse(row[0]).text), row[0])
