"""Looking through the sealed trail for incidents: each leaf once, in their order, whoever looks and however often.

A step reads some leaves of one organization from its cursor on, and what the rules want to know of the time before
them, in one snapshot. What was found, and that the cursor moved, are one transaction: of two processes that looked at
the same leaves one writes, and after a crash the next step begins where the last one ended. Nothing is kept in memory.

Of a trail that nobody has judged yet only the newest part is, so that nobody is alarmed about what is long over.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from auth.action import Action
from auth.principal import SYSTEM_ID, Origin
from auth.principal import Channel as Door
from models.audit_entry import AuditEntry
from models.base import new_id
from models.incident import AlarmDelivery, Channel, Incident, IncidentEvidence, IncidentStatus
from models.inventory import entity_of
from models.reading import OneStatement, Snapshot
from models.transaction import Tenant, fetch
from resolvers.change import Change, Intent, commit_decided
from resolvers.incident_look import Look, key_of_finding
from resolvers.incident_rule import (
    DEFAULTS,
    ORGANIZATION_KEY,
    RULES,
    SEALING_BEHIND,
    Entry,
    Finding,
    Rule,
    Subject,
    Thresholds,
)
from resolvers.trail import Actor
from resolvers.trail_sealing import sealing_lag

LEAVES: Final = 2000
"""Leaves of one step."""
MOST_EVIDENCE: Final = 50
"""Entries that an incident names, from the first on; beside them it names the newest."""
FIRST_LOOK: Final = timedelta(days=1)
"""How much of a trail is judged that was not before."""
SEALING_LOCK: Final = 4_614_531_919
"""The advisory lock under which it is noted what no entry tells: once, whoever notices."""

_CURSOR: Final = "select leaf_index from incident_cursor where organization_id = $1"
# As the last head says: a leaf under no head is nothing that was sealed, and would carry the cursor beyond what was.
_SIZE: Final = "select tree_size from sealed_batch where organization_id = $1 order by tree_size desc limit 1"
_FIRST: Final = f"""
    select l.leaf_index from {entity_of(AuditEntry).name} e
    join sealed_leaf l on l.organization_id = e.organization_id and l.id = e.id
    where e.organization_id = $1 and e.at >= clock_timestamp() - $2::interval order by e.at, e.id limit 1
"""
_MOVE: Final = """
    insert into incident_cursor (organization_id, id, created_at, leaf_index, judged_at)
    values ($1, $2, clock_timestamp(), $3, clock_timestamp())
    on conflict (organization_id) do update set leaf_index = $3, judged_at = clock_timestamp()
    where incident_cursor.leaf_index = $4 returning leaf_index
"""
_UNCLOSED: Final = f"""
    select i.id, i.rule, i.key, coalesce(l.leaf_index, -1) as newest,
           (select count(*) from incident_evidence v
             where v.organization_id = i.organization_id and v.incident_id = i.id) as evidence
    from incident i
    left join sealed_leaf l on l.organization_id = i.organization_id and l.id = i.newest_entry_id
    where i.organization_id = $1 and i.status <> '{IncidentStatus.CLOSED}'
      and (i.rule, i.key) in (select * from unnest($2::text[], $3::text[]))
    for update of i
"""
_GO_ON: Final = """
    update incident set count = count + $3, last_seen_at = greatest(last_seen_at, $4), newest_entry_id = $5
    where organization_id = $1 and id = $2
"""
_KNOWN: Final = """
    select id from membership where organization_id = $1 and id = any($2)
    union all select id from device where organization_id = $1 and id = any($2)
    union all select id from service_account where organization_id = $1 and id = any($2)
"""


@dataclass(frozen=True, slots=True)
class Judge:
    """Who looks through the trail: by which thresholds, and through which channels alarms are to leave."""

    thresholds: Thresholds = DEFAULTS
    channels: tuple[Channel, ...] = ()


@dataclass(frozen=True, slots=True)
class Judged:
    """What a step came to. is_behind: whether more leaves wait."""

    opened: tuple[UUID, ...] = ()
    is_behind: bool = False


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read for a step: from which leaf on, up to which, and what the rules found in between.

    cursor: where it stood; -1 where there was none.
    """

    cursor: int
    until: int
    findings: Sequence[Finding]
    is_behind: bool


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is written of a step: incidents that are opened, by their id, and those that go on."""

    opening: Mapping[UUID, Finding]
    going_on: Mapping[UUID, tuple[Finding, int, int]]


async def organizations() -> list[UUID]:
    """Return every organization, and the nil UUID for what belongs to none."""
    async with OneStatement(Tenant()) as connection:
        return [row[0] for row in await connection.fetch("select fieldward_judged()")]


async def unjudged_organizations() -> list[UUID]:
    """Return the organizations of whose trails more is sealed than was judged."""
    async with OneStatement(Tenant()) as connection:
        return [row[0] for row in await connection.fetch("select fieldward_unjudged()")]


async def judging_lag_s() -> float:
    """Return how many seconds the oldest head has waited to be judged, in any organization; 0 where none does."""
    async with OneStatement(Tenant()) as connection:
        found = await connection.fetchval("select extract(epoch from clock_timestamp() - fieldward_unjudged_since())")
    return max(0.0, float(found or 0.0))


async def judge_step(judging: Judge, organization_id: UUID) -> Judged:
    """Judge some leaves of an organization's trail. Does nothing where another process was faster.

    Raises:
        UnavailableError: the database, or the keystore, is away.
    """
    read = await _read(judging, organization_id)
    if read is None:
        return Judged()
    plan = _Plan({}, {})

    async def decide(connection: BaseDBAsyncClient) -> Intent | None:
        nonlocal plan
        moved = await fetch(connection, _MOVE, organization_id, new_id(), read.until, read.cursor)
        if not moved or not read.findings:
            return None
        plan = await _planned(connection, organization_id, read.findings)
        return _intent(organization_id, plan)

    async def work(change: Change) -> Judged:
        await _write(change, judging, plan)
        return Judged(tuple(plan.opening), read.is_behind)

    done = await commit_decided(_actor(organization_id), decide, work)
    return done or Judged(is_behind=read.is_behind)


class SealingWatch:
    """Tells sealing that stands still, or loses ground, from one that catches up after a start. One for a process.

    apart_s: seconds between two looks that are compared.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, apart_s: float = 30.0) -> None:
        self._clock = clock
        self._apart_s = apart_s
        self._seen: tuple[float, float] | None = None

    def is_behind(self, lag_s: float, limit_s: float) -> bool:
        """Return whether the lag is over the limit, and no less than when it was looked at before."""
        now = self._clock()
        if lag_s < limit_s:
            self._seen = None
            return False
        if self._seen is None:
            self._seen = now, lag_s
            return False
        at, before_s = self._seen
        if now - at < self._apart_s:
            return False
        self._seen = now, lag_s
        return lag_s >= before_s


async def note_sealing(judging: Judge, watch: SealingWatch) -> Judged:
    """Open an incident of the installation where sealing is behind, unless there is one that is not closed."""
    if not watch.is_behind(await sealing_lag(), SEALING_BEHIND.limit(judging.thresholds)):
        return Judged()
    return await note_of_installation(judging, SEALING_BEHIND)


async def note_of_installation(judging: Judge, rule: Rule) -> Judged:
    """Open an incident of the installation by a rule that looks at no entries, unless there is one that is not closed.

    Raises:
        UnavailableError: the database is away.
    """
    return await note_findings(judging, SYSTEM_ID, [Finding(rule, Subject(ORGANIZATION_KEY))])


async def note_findings(judging: Judge, organization_id: UUID, findings: Sequence[Finding]) -> Judged:
    """Open incidents of what no entry of the trail tells, unless there are such that are not closed.

    findings: without entries; each is about one thing.
    """
    if not findings:
        return Judged()
    plan = _Plan({}, {})

    async def decide(connection: BaseDBAsyncClient) -> Intent | None:
        nonlocal plan
        await fetch(connection, "select pg_advisory_xact_lock($1)", SEALING_LOCK)
        plan = _Plan((await _planned(connection, organization_id, findings)).opening, {})
        return _intent(organization_id, plan)

    async def work(change: Change) -> Judged:
        await _write(change, judging, plan)
        return Judged(tuple(plan.opening))

    return await commit_decided(_actor(organization_id), decide, work) or Judged()


def _actor(organization_id: UUID) -> Actor:
    return Actor(organization_id, Origin(channel=Door.JOB, request_id=new_id(), client_name="fieldward"))


def _intent(organization_id: UUID, plan: _Plan) -> Intent | None:
    """Return what the trail says of the step; None where nothing is written."""
    if not plan.opening and not plan.going_on:
        return None
    return Intent(
        action=Action.INCIDENT_OPEN if plan.opening else Action.INCIDENT_RECUR,
        actor=_actor(organization_id),
        entity=entity_of(Incident).name,
        subjects=[*plan.opening, *plan.going_on],
    )


async def _read(judging: Judge, organization_id: UUID) -> _Read | None:
    async with Snapshot(Tenant(organization_id=organization_id)) as connection:
        size = await connection.fetchval(_SIZE, organization_id) or 0
        cursor: int | None = await connection.fetchval(_CURSOR, organization_id)
        start = cursor
        if start is None:
            start = await connection.fetchval(_FIRST, organization_id, FIRST_LOOK)
            start = size if start is None else start
        until = min(start + LEAVES, size)
        if cursor is not None and until <= cursor:
            return None
        look = Look(connection, organization_id, start, until)
        batch = await look.batch()
        findings = [one for rule in RULES for one in await look.find(rule, rule.limit(judging.thresholds), batch)]
    return _Read(-1 if cursor is None else cursor, until, findings, until < size)


async def _planned(connection: BaseDBAsyncClient, organization_id: UUID, findings: Sequence[Finding]) -> _Plan:
    """Return which incidents are opened and which go on. Those that go on are locked: nobody closes them meanwhile."""
    keys = [key_of_finding(one) for one in findings]
    rows = await fetch(connection, _UNCLOSED, organization_id, *map(list, zip(*keys, strict=True)))
    unclosed = {(row["rule"], row["key"]): row for row in rows}
    opening, going_on = {}, {}
    for one in findings:
        row = unclosed.get(key_of_finding(one))
        if row is None:
            opening[new_id()] = one
        elif one.entries and one.entries[-1].leaf_index > row["newest"]:
            going_on[row["id"]] = (one, row["newest"], row["evidence"])
    return _Plan(opening, going_on)


async def _write(change: Change, judging: Judge, plan: _Plan) -> None:
    known = await _known(change, plan.opening.values())
    opened = [_row(change, incident_id, one, known) for incident_id, one in plan.opening.items()]
    if opened:
        await change.insert(Incident, opened)
    evidence = [
        _evidence(change, incident_id, entry)
        for incident_id, one in plan.opening.items()
        for entry in one.entries[:MOST_EVIDENCE]
    ]
    for incident_id, (one, newest, kept) in plan.going_on.items():
        more = [entry for entry in one.entries if entry.leaf_index > newest]
        seen = max(entry.at for entry in more)
        arguments = (change.organization_id, incident_id, one.count(newest), seen, more[-1].id)
        await fetch(change.connection, _GO_ON, *arguments)
        evidence += [_evidence(change, incident_id, entry) for entry in more[: max(0, MOST_EVIDENCE - kept)]]
    if evidence:
        await change.insert(IncidentEvidence, evidence)
    alarms = [
        {
            "id": new_id(),
            "organization_id": change.organization_id,
            "created_at": change.at,
            "incident_id": row["id"],
            "channel": channel,
            "count": row["count"],
            "next_attempt_at": change.at,
        }
        for row in opened
        for channel in judging.channels
    ]
    if alarms:
        await change.insert(AlarmDelivery, alarms)


def _row(change: Change, incident_id: UUID, one: Finding, known: frozenset[UUID]) -> dict[str, Any]:
    def linked(value: UUID | None) -> UUID | None:
        return value if value in known else None

    times: list[datetime] = [entry.at for entry in one.entries] or [change.at]
    return {
        "id": incident_id,
        "organization_id": change.organization_id,
        "created_at": change.at,
        "rule": one.rule.name,
        "severity": one.rule.severity,
        "key": one.subject.key,
        "opened_at": change.at,
        "first_seen_at": min(times),
        "last_seen_at": max(times),
        "count": one.count(),
        "user_id": one.subject.user_id,
        "membership_id": linked(one.subject.membership_id),
        "device_id": linked(one.subject.device_id),
        "service_account_id": linked(one.subject.service_account_id),
        "newest_entry_id": one.entries[-1].id if one.entries else None,
    }


def _evidence(change: Change, incident_id: UUID, entry: Entry) -> dict[str, Any]:
    return {
        "id": new_id(),
        "organization_id": change.organization_id,
        "created_at": change.at,
        "incident_id": incident_id,
        "entry_id": entry.id,
    }


async def _known(change: Change, findings: Iterable[Finding]) -> frozenset[UUID]:
    """Return which of the rows that the trail names there are: a device that somebody only claimed may be none."""
    named = {
        one
        for finding in findings
        for subject in [finding.subject]
        for one in (subject.membership_id, subject.device_id, subject.service_account_id)
        if one is not None
    }
    if not named:
        return frozenset()
    rows = await fetch(change.connection, _KNOWN, change.organization_id, sorted(named))
    return frozenset(row["id"] for row in rows)
