"""The job that seals the audit trail of every organization, within seconds of each commit.

In each round it asks which organizations have entries since the last one, by an index over transactions and not by
looking at organizations; where nothing happened, that is all, and nothing is written. It knows up to which transaction
everything is sealed, and takes that from the tree of heads when it begins. An organization that can't be sealed waits
by itself: it holds up no other, and is tried again.
"""

import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

from auth.action import Action
from auth.principal import SYSTEM_ID
from models.errors import UnavailableError
from models.ledger.tree import last_head
from models.reading import OneStatement
from models.sealed_batch import HEADS_ID
from models.transaction import Tenant
from resolvers.change import Intent, record_attempt
from resolvers.sealing import (
    BEGINNING,
    Look,
    Moment,
    Page,
    Sealer,
    Since,
    is_known,
    moment,
    organizations_with_trails,
    seal_step,
    unsealed_organizations,
)
from resolvers.trail import job_actor

log = structlog.get_logger()

SEAL_TRAIL: Final = "seal_trail"
"""The background job's name."""
EVERY_S: Final = 1.0
"""Seconds from one round to the next."""

LONGEST_RETRY_S: Final = 60.0
"""Seconds after which an organization is tried again that could not be sealed, at the most."""
TOLD_EVERY_S: Final = 3600.0
"""Seconds after which the trail says once more of an organization that it is not sealed."""


@dataclass(slots=True)
class _Waiting:
    """An organization that is not sealed yet. since: its first transaction that may not be.

    then: from where to go on once its whole trail was looked through.
    """

    since: int
    look: Look
    then: int = 0
    retry_at: float = 0.0
    failures: int = 0


class TrailSealing:
    """Seals what is not sealed, where this process is the one that does.

    leads: says whether it is. sealed: how many entries it has sealed, by organization.
    """

    def __init__(self, sealer: Sealer, leads: Callable[[], Awaitable[bool]]) -> None:
        self._sealer = sealer
        self._leads = leads
        self._since: int | None = None
        self._waiting: dict[UUID, _Waiting] = {}
        self._told: dict[UUID, float] = {}
        self._is_away = False
        self.sealed: Counter[UUID] = Counter()

    @property
    def failing(self) -> list[UUID]:
        """The organizations that could not be sealed when it was last tried."""
        return [key for key, one in self._waiting.items() if one.failures]

    async def step(self) -> bool:
        """Seal a batch of each organization that has something to seal. Returns whether there is more."""
        try:
            more = await self.round()
        except UnavailableError as error:
            if not self._is_away:
                log.warning("sealing_waits", failure=type(error.__cause__ or error).__name__)
            self._is_away = True
            return False
        self._is_away = False
        return more

    async def round(self) -> bool:
        """As `step`; raises `UnavailableError` where the database is away."""
        if not await self._leads():
            # Another process seals; what was known here is old when that one ends.
            self._since = None
            self._waiting.clear()
            return False
        now = await moment()
        if self._since is None:
            await self._begin(now)
        elif now.oldest > self._since:
            for organization_id in await unsealed_organizations(self._since, now.oldest):
                self._waiting.setdefault(organization_id, _Waiting(self._since, Since(self._since)))
        self._since = now.oldest
        for organization_id in list(self._waiting):
            await self._seal(organization_id)
        at = time.monotonic()
        return any(one.retry_at <= at for one in self._waiting.values())

    async def _begin(self, now: Moment) -> None:
        """Find out from where to go on: from where the last one stopped, or with the whole of every trail."""
        since = await _watermark(now)
        if since:
            found = await unsealed_organizations(since, now.oldest)
            self._waiting = {one: _Waiting(since, Since(since)) for one in found}
        else:
            found = await organizations_with_trails()
            self._waiting = {one: _Waiting(0, BEGINNING, then=now.oldest) for one in found}

    async def _seal(self, organization_id: UUID) -> None:
        waiting = self._waiting[organization_id]
        if waiting.retry_at > time.monotonic():
            return
        watermark = min(one.since for one in self._waiting.values())
        try:
            step = await seal_step(self._sealer, organization_id, waiting.look, watermark=watermark)
        except Exception as error:
            waiting.failures += 1
            waiting.retry_at = time.monotonic() + min(2**waiting.failures, LONGEST_RETRY_S)
            if isinstance(error, UnavailableError):
                # Where it is the database, it is so for all; else what was published can't be read, of this one.
                await moment()
            await self._tell(organization_id, error)
            return
        self._told.pop(organization_id, None)
        waiting.failures = 0
        if step.sealed is not None:
            self.sealed[organization_id] += step.sealed.entries
        if step.coming is not None:
            waiting.look = step.coming
        elif isinstance(waiting.look, Page):
            waiting.since = waiting.then
            waiting.look = Since(waiting.then)
        else:
            del self._waiting[organization_id]

    async def _tell(self, organization_id: UUID, error: Exception) -> None:
        """Say that an organization is not sealed: in the log each time, and in the service's own trail now and then."""
        log.error("trail_not_sealed", organization_id=str(organization_id), exc_info=error)
        if isinstance(error, UnavailableError):
            return
        told = self._told.get(organization_id)
        if told is None or time.monotonic() - told >= TOLD_EVERY_S:
            self._told[organization_id] = time.monotonic()
            intent = Intent(Action.AUDIT_SEAL, job_actor(SYSTEM_ID), entity="organization", subjects=[organization_id])
            await record_attempt(intent, error)


@dataclass(frozen=True, slots=True)
class SealedAll:
    """What was sealed, which organizations could not be, and how old the oldest entry is that is left, in seconds."""

    entries: int
    organizations: int
    failed: list[UUID]
    lag_s: float


async def seal_everything(sealer: Sealer) -> SealedAll:
    """Seal all that can be sealed at this moment, beside whoever else does.

    Raises:
        UnavailableError: the database is away.
    """

    async def leads() -> bool:
        return True

    job = TrailSealing(sealer, leads)
    while await job.round():
        pass
    return SealedAll(job.sealed.total(), len(job.sealed), sorted(job.failing), await sealing_lag())


async def sealing_lag() -> float:
    """Return how old the oldest entry is that is not sealed, in seconds; 0 where everything is.

    It grows while a transaction stays open that could still add an entry before others, and while an organization is
    not sealed since its log was set back.

    Raises:
        UnavailableError: the database is away.
    """
    since = await _watermark(await moment())
    async with OneStatement(Tenant()) as connection:
        age = await connection.fetchval(
            "select extract(epoch from clock_timestamp() - fieldward_oldest_unsealed($1))::float8", since
        )
    return max(float(age or 0), 0.0)


async def _watermark(now: Moment) -> int:
    """Return the transaction before which everything was sealed when the tree of heads last grew; 0 if it says none."""
    async with OneStatement(Tenant(organization_id=HEADS_ID)) as connection:
        heads = await last_head(connection, HEADS_ID)
    return heads.through_transaction if is_known(heads, now) else 0
