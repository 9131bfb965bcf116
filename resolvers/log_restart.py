"""Beginning a log anew, where a restore has lost what was published of it.

What was published can't be had back, and no head may be signed that denies it. So the log ends where it was published
last, and another one begins under an origin of its own: with the leaves that are left, and the entry that says why, and
which head was the last of the old one. Who has that head can show what was lost; whoever did it has signed that it is.
"""

import asyncio
import base64
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from auth.action import Action
from auth.principal import SYSTEM_ID
from models.errors import ConflictError, UnavailableError
from models.ledger.checkpoint import Head
from models.ledger.tree import last_head
from models.reading import OneStatement, Snapshot
from models.sealed_batch import HEADS_ID
from models.transaction import Tenant
from resolvers.change import Change, Intent, commit_change
from resolvers.checking import LONGEST_REASON, require_reason, require_text
from resolvers.erasure import organization_named
from resolvers.rollback_guard import SetBackError
from resolvers.sealing import seal_step
from resolvers.services import Services
from resolvers.trail import Actor

LONGEST_WAIT_S: Final = 60.0
"""Seconds for which is waited until the entry can be sealed: transactions may still run that are older."""
_LOOK_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Restarted:
    """How a log goes on. lost_size: leaves that were published under the old origin; kept_size: those that are left."""

    origin: str
    lost_size: int
    kept_size: int


async def restart_log(services: Services, actor: Actor, *, slug: str | None, reason: str) -> Restarted:
    """Begin the log of an organization anew, and that of the heads with it where that was set back as well.

    slug: of the organization; None is for what the service did in none.

    Raises:
        InvalidInputError: the reason does not fit.
        NotFoundError: there is no such organization.
        ConflictError: the log goes on from what was published of it: there is nothing to begin anew.
        UnavailableError: a database is away, what was published can't be read, or an older transaction does not end.
    """
    reason = require_reason(reason, at=("reason",))
    organization_id = SYSTEM_ID if slug is None else await organization_named(services, slug)
    lost, kept_size = await _lost(services, organization_id)
    told = f"{reason} [The last published head: {lost.size} leaves, root {base64.b64encode(lost.root).decode()}]"
    require_text(told, at=("reason",), longest=LONGEST_REASON)
    intent = Intent(
        Action.AUDIT_RESTART,
        replace(actor, organization_id=organization_id),
        reason=told,
        entity="organization",
        subjects=[organization_id],
    )
    at = await commit_change(intent, _when)
    try:
        async with asyncio.timeout(LONGEST_WAIT_S):
            while not await _is_sealed(organization_id, at):
                step = await seal_step(services.sealer, organization_id, begins_anew=True)
                if step.sealed is None:
                    await asyncio.sleep(_LOOK_S)
    except TimeoutError as error:
        raise UnavailableError("A transaction that is older does not end. Repeat this when it has.") from error
    async with OneStatement(Tenant(organization_id=organization_id)) as connection:
        stored = await last_head(connection, organization_id)
    return Restarted(services.sealer.origin(organization_id, stored.generation), lost.size, kept_size)


async def _when(change: Change) -> object:
    return change.at


async def _lost(services: Services, organization_id: UUID) -> tuple[Head, int]:
    """Return the published head that the log does not go on from, and how many leaves it has; or else the heads'."""
    sealer = services.sealer
    for log_id in (organization_id, HEADS_ID):
        async with Snapshot(Tenant(organization_id=log_id)) as connection:
            stored = await last_head(connection, log_id)
            head = Head(sealer.origin(log_id, stored.generation), stored.frontier.size, stored.frontier.root)
            try:
                if sealer.guard is not None:
                    await sealer.guard.require(connection, log_id, head)
            except SetBackError as error:
                return error.published, head.size
    raise ConflictError("The log goes on from what was published of it: there is nothing to begin anew.")


async def _is_sealed(organization_id: UUID, at: object) -> bool:
    async with OneStatement(Tenant(organization_id=organization_id)) as connection:
        found: bool = await connection.fetchval(
            "select exists (select from audit_entry e join sealed_leaf l on l.organization_id = $1 and l.id = e.id"
            " where e.organization_id = $1 and e.action = $2 and e.at = $3)",
            organization_id,
            Action.AUDIT_RESTART,
            at,
        )
    return found
