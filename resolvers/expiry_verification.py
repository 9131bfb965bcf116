"""Whether what left the trail might leave: an entry of the trail says so of each, and a period had been decided before.

A leaf without an entry says nothing of what it was. So whoever deletes an entry and writes a note that it expired is
found by this: that the note is in the trail, that it names the entry, and that what an owner had decided by then, which
the trail keeps for good, let entries of that age go.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson

from models.finding import FindingKind, Findings
from models.inventory import entity_of
from models.trail_retention import LEAST_DAYS, MOST_DAYS, WAITING_DAYS, TrailRetention
from resolvers.leaf_reading import StoredLeaf

_WAITING: Final = timedelta(days=WAITING_DAYS)

# Which leaves an act of letting go names, of those that say that they left by it, where it is sealed itself.
_EXPIRING: Final = """
    select x.id, x.at, array(select unnest(x.entity_ids) intersect select unnest($3::uuid[])) as named
    from audit_entry x join sealed_leaf l on l.organization_id = $1 and l.id = x.id
    where x.organization_id = $1 and x.id = any($2) and x.action = 'audit.expire' and x.outcome = 'DONE'
"""
_SEALED_AT: Final = """
    select n.place, b.sealed_at from unnest($2::bigint[]) n(place) join lateral (
        select sealed_at from sealed_batch where organization_id = $1 and tree_size > n.place order by tree_size limit 1
    ) b on true
"""
_DECIDED: Final = """
    select e.at, c.entity_id, c.columns::text as columns from change c
    join audit_entry e on e.organization_id = $1 and e.id = c.entry_id
    where c.organization_id = $1 and c.entity = $2 order by c.id
"""


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided of a kind of entries, and when. days: None where they stay."""

    kind: str
    at: datetime
    days: int | None


def named(leaf: StoredLeaf) -> str:
    """Return how a finding names a leaf."""
    return f"entry {leaf.id}, leaf {leaf.index}"


async def retention_decisions(connection: asyncpg.Connection, organization_id: UUID) -> Sequence[Decision]:
    """Return what the trail tells of an organization's periods, in the order in which they were decided."""
    kinds: dict[UUID, str] = {}
    days: dict[UUID, int | None] = {}
    found = []
    for row in await connection.fetch(_DECIDED, organization_id, entity_of(TrailRetention).name):
        columns = _parsed(row["columns"])
        kinds[row["entity_id"]] = str(_after(columns, "kind", kinds.get(row["entity_id"], "")))
        said = _after(columns, "days", days.get(row["entity_id"]))
        days[row["entity_id"]] = said if isinstance(said, int) and LEAST_DAYS <= said <= MOST_DAYS else None
        found.append(Decision(kinds[row["entity_id"]], row["at"], days[row["entity_id"]]))
    return found


def cutoff(decisions: Sequence[Decision], moment: datetime) -> datetime | None:
    """Return before when an entry must have been sealed to leave at a moment, whatever its kind; None: none might."""
    last = {one.kind: one for one in decisions if one.at < moment}
    ends = [
        moment - timedelta(days=one.days)
        for one in last.values()
        if one.days is not None and one.at < moment - _WAITING
    ]
    return max(ends, default=None)


async def verify_expired(
    connection: asyncpg.Connection, findings: Findings, decisions: Sequence[Decision], leaves: Sequence[StoredLeaf]
) -> None:
    """Verify that the trail says of leaves without an entry that it let go of them, and not before it might."""
    gone = [leaf for leaf in leaves if leaf.expired_by is not None]
    if not gone:
        return
    organization_id = findings.organization_id
    acts = await connection.fetch(
        _EXPIRING, organization_id, list({leaf.expired_by for leaf in gone}), [leaf.id for leaf in gone]
    )
    by_id = {act["id"]: (act["at"], cutoff(decisions, act["at"]), frozenset(act["named"])) for act in acts}
    sealed = await connection.fetch(_SEALED_AT, organization_id, [leaf.index for leaf in gone])
    sealed_at = {one["place"]: one["sealed_at"] for one in sealed}
    for leaf in gone:
        act_at, end, ids = by_id.get(leaf.expired_by, (None, None, frozenset()))
        since = sealed_at.get(leaf.index)
        if act_at is None or leaf.id not in ids:
            expected, got = f"entry {leaf.expired_by} that says that it was let go of", "none"
        elif end is None:
            expected, got = f"a period that was decided a week before {act_at}", "none"
        elif since is None or since >= end:
            expected, got = f"a head before {end}, as was decided", f"sealed at {since}, let go of at {act_at}"
        else:
            continue
        findings.add(FindingKind.EXPIRED, named(leaf), expected=expected, got=got, table="audit_entry", row_id=leaf.id)


def _parsed(text: str) -> Mapping[str, Any]:
    """Return an object of the database's JSON; of what we never write, nothing."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        found = None
    return found if isinstance(found, dict) else {}


def _after(columns: Mapping[str, Any], name: str, before: Any) -> Any:
    pair = columns.get(name)
    return pair[1] if isinstance(pair, list) and len(pair) == 2 else before
