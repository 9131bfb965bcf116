"""Letting go of entries whose period is over: what leaves the trail is replaced by its leaf hash.

What may leave is the database's decision (`models/migrations/sql/0005_retention.sql`): this asks for it and names it in
an entry of its own, `audit.expire`, which stays. Each batch is one short transaction; of two processes that would do
the same, one does nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from auth.action import Action
from models.audit_entry import AuditEntry, EntryKind
from models.inventory import entity_of
from models.reading import OneStatement
from models.transaction import Tenant, fetch
from resolvers.change import Change, Intent, commit_decided
from resolvers.trail import Actor

MOST_ENTRIES: Final = 1000
"""Entries that leave together; of changes, about as many changed rows."""

_ENTITY: Final = entity_of(AuditEntry).name
_ALL: Final = 2**62
_BEGINNING: Final = datetime(1, 1, 1, tzinfo=UTC)
_LOCKS: Final = 4_614_531
"""The class of the advisory locks by which an organization's trail is let go of by one process at a time."""

_ALONE: Final = "select pg_try_advisory_xact_lock($1, hashtext($2)) as is_alone"
_EXPIRABLE: Final = "select id, at from fieldward_expirable($1, $2, $3)"
_COUNT: Final = "select count(*) from fieldward_expirable($1, $2, $3)"


@dataclass(frozen=True, slots=True)
class Expired:
    """How many entries of a kind left, or may."""

    kind: EntryKind
    entries: int


class TrailExpiry:
    """Lets go of what is over, in any organization. One for a process."""

    def __init__(self, *, most: int = MOST_ENTRIES) -> None:
        self._most = most
        # Up to when all is gone that was to go: what is left of before is not looked at again for each batch.
        self._reached: dict[tuple[UUID, EntryKind], datetime] = {}

    async def step(self, actor: Actor) -> Sequence[Expired]:
        """Let go of one batch of each kind in the actor's organization. Empty where there was nothing to let go of.

        Raises:
            UnavailableError: the database is away.
        """
        done = [Expired(kind, await self._step(actor, kind)) for kind in EntryKind]
        return [one for one in done if one.entries]

    async def _step(self, actor: Actor, kind: EntryKind) -> int:
        at = actor.organization_id, kind
        rows: list[dict[str, Any]] = []

        async def decide(connection: BaseDBAsyncClient) -> Intent | None:
            # Which entries leave is known only once no other process is at it, and said in an entry before they do.
            [alone] = await fetch(connection, _ALONE, _LOCKS, str(actor.organization_id))
            if alone["is_alone"]:
                rows.extend(await fetch(connection, _EXPIRABLE, kind, self._reached.get(at, _BEGINNING), self._most))
            subjects = [row["id"] for row in rows]
            return Intent(Action.AUDIT_EXPIRE, actor, entity=_ENTITY, subjects=subjects) if rows else None

        await commit_decided(actor, decide, _let_go)
        if rows:
            self._reached[at] = rows[-1]["at"]
        return len(rows)


async def expirable(organization_id: UUID) -> Sequence[Expired]:
    """Return how many entries of each kind may leave an organization's trail now."""
    found = []
    for kind in EntryKind:
        async with OneStatement(Tenant(organization_id=organization_id)) as connection:
            found.append(Expired(kind, await connection.fetchval(_COUNT, kind, _BEGINNING, _ALL)))
    return [one for one in found if one.entries]


async def _let_go(change: Change) -> None:
    await fetch(change.connection, "select fieldward_expire()")
