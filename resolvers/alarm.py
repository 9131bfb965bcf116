"""The outbox of alarms: written with the incident that they are about, emptied by whoever comes first.

Who sends takes a delivery for a while, in a transaction of its own, sends, and notes how it went. If it ends in
between, the delivery is taken again when that while is over: the same alarm, under the same id. What does not go
through is tried again, ever later, for a day.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg
import structlog

from auth.principal import SYSTEM_ID
from models.base import new_id
from models.incident import Channel, DeliveryState
from models.reading import OneStatement
from models.transaction import Tenant, raw_write_transaction
from resolvers.alarm_channel import Alarm, AlarmSender
from resolvers.sending import LONGEST_S, NotSentError

log = structlog.get_logger()

TAKEN_FOR: Final = timedelta(seconds=2 * LONGEST_S)
"""How long a delivery is its sender's: longer than sending takes."""
FIRST_WAIT: Final = timedelta(seconds=15)
LONGEST_WAIT: Final = timedelta(hours=2)
TRIED_FOR: Final = timedelta(days=1)
"""How long an alarm is tried to be sent."""

_TAKE: Final = f"""
    update alarm_delivery a set attempts = a.attempts + 1, next_attempt_at = clock_timestamp() + $2::interval
    from incident i
    where i.organization_id = a.organization_id and i.id = a.incident_id and a.organization_id = $1
      and a.id = (select d.id from alarm_delivery d
                   where d.organization_id = $1 and d.state = '{DeliveryState.PENDING}'
                     and d.next_attempt_at <= clock_timestamp()
                   order by d.next_attempt_at limit 1 for update skip locked)
    returning a.id, a.channel, a.attempts, a.count, i.id as incident_id, i.rule, i.severity, i.first_seen_at,
              i.opened_at
"""
_DELIVERED: Final = f"""
    update alarm_delivery
    set state = '{DeliveryState.DELIVERED}', delivered_at = clock_timestamp(), destination = $3, last_error = null
    where organization_id = $1 and id = $2
"""
_FAILED: Final = f"""
    update alarm_delivery
    set last_error = $3, destination = coalesce($4, destination), next_attempt_at = clock_timestamp() + $5::interval,
        state = case when clock_timestamp() + $5::interval > created_at + $6::interval
                     then '{DeliveryState.GIVEN_UP}' else '{DeliveryState.PENDING}' end
    where organization_id = $1 and id = $2
    returning state
"""


@dataclass(frozen=True, slots=True)
class Outbox:
    """How alarms leave. public_url: where people reach the service, for the link."""

    senders: tuple[AlarmSender, ...] = ()
    public_url: str | None = None

    @property
    def link(self) -> str | None:
        """Where whoever gets an alarm signs in."""
        return None if self.public_url is None else f"{self.public_url.rstrip('/')}/graphiql"


async def alarming_organizations() -> list[UUID]:
    """Return the organizations that have alarms to be sent now."""
    async with OneStatement(Tenant()) as connection:
        return [row[0] for row in await connection.fetch("select fieldward_alarming()")]


async def deliver_one(outbox: Outbox, organization_id: UUID) -> bool:
    """Send the alarm of an organization that is due for longest; return whether there was one.

    Raises:
        UnavailableError: the database is away. What was sent then may be sent again.
    """
    tenant = Tenant(organization_id=organization_id)
    async with raw_write_transaction(tenant) as connection:
        row = await connection.fetchrow(_TAKE, organization_id, TAKEN_FOR)
    if row is None:
        return False
    senders: Mapping[str, AlarmSender] = {one.channel: one for one in outbox.senders}
    sender = senders.get(row["channel"])
    try:
        if sender is None:
            raise NotSentError("no such channel is set up")
        await sender.send(_alarm(outbox, organization_id, row))
    except NotSentError as error:
        wait = wait_before(row["attempts"])
        destination = sender.destination if sender is not None else None
        arguments: Sequence[Any] = (organization_id, row["id"], error.kind, destination, wait, TRIED_FOR)
        async with raw_write_transaction(tenant) as connection:
            state = await connection.fetchval(_FAILED, *arguments)
        event = "alarm_given_up" if state == DeliveryState.GIVEN_UP else "alarm_not_sent"
        log.warning(event, channel=row["channel"], delivery=str(row["id"]), failure=error.kind)
        return True
    async with raw_write_transaction(tenant) as connection:
        await connection.execute(_DELIVERED, organization_id, row["id"], sender.destination if sender else None)
    return True


async def send_test(outbox: Outbox, now: datetime) -> dict[Channel, str | None]:
    """Send a test alarm through each channel, and return by channel what went wrong; None where nothing did.

    It is noted nowhere, and takes no database.
    """
    found: dict[Channel, str | None] = {}
    for sender in outbox.senders:
        alarm = Alarm(new_id(), "test", "LOW", SYSTEM_ID, None, 1, now, now, outbox.link)
        try:
            await sender.send(alarm)
        except NotSentError as error:
            found[sender.channel] = error.kind
        else:
            found[sender.channel] = None
    return found


def wait_before(attempts: int) -> timedelta:
    """Return how long to wait after that many attempts: twice as long each time, give or take a half."""
    seconds = min(FIRST_WAIT.total_seconds() * 2 ** min(attempts - 1, 20), LONGEST_WAIT.total_seconds())
    return timedelta(seconds=seconds * random.uniform(0.5, 1.5))  # noqa: S311  (so that not all try at once)


def _alarm(outbox: Outbox, organization_id: UUID, row: asyncpg.Record) -> Alarm:
    return Alarm(
        id=row["id"],
        rule=row["rule"],
        severity=row["severity"],
        organization_id=organization_id,
        incident_id=row["incident_id"],
        count=row["count"],
        first_seen_at=row["first_seen_at"],
        opened_at=row["opened_at"],
        link=outbox.link,
    )
