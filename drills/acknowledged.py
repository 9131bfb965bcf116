"""Holds the database against what the writers of a drill were told, past the service: as the superuser.

Nothing that was acknowledged is lost or doubled, nothing is there that nobody asked for, every change has its entry and
every entry its change, every value that was shown is in the read log, and the changes, one over the other, give the
rows.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg

from auth.action import Action
from auth.errors import Code
from drills.error import require
from drills.fold import untold
from drills.journal import Act, Kept, Round, Told

_CHANGED: Final = """
    select c.id, c.operation, c.entity_id, (c.columns -> 'version' ->> 0)::int as before,
           (c.columns -> 'version' ->> 1)::int as after, e.action, e.request_id
      from change c join audit_entry e on e.organization_id = c.organization_id and e.id = c.entry_id
     where c.entity = 'record' and c.id > $1
"""
_LIVE: Final = """
    select r.id, r.version, r.status, r.site_code,
           (select count(*) from measurement m
             where m.organization_id = r.organization_id and m.record_id = r.id) as results
      from record r where r.id = any($1)
"""
_WITHOUT_ENTRY: Final = """
    select count(*) from change c
      left join audit_entry e on e.organization_id = c.organization_id and e.id = c.entry_id
                             and e.kind = 'CHANGE' and e.outcome = 'DONE'
     where e.id is null
"""
_WITHOUT_CHANGE: Final = """
    select e.request_id, e.action from audit_entry e
     where e.kind = 'CHANGE' and e.outcome = 'DONE'
       and not exists (select 1 from change c where c.organization_id = e.organization_id and c.entry_id = e.id)
"""
_ENTRIES: Final = """
    select kind, action, outcome, error_code, field, entity_ids, request_id from audit_entry where request_id = any($1)
"""
_READ_FIELDS: Final = frozenset({"comment", "collector"})
_DENIED: Final = frozenset({Code.FORBIDDEN, Code.UNAUTHENTICATED, Code.NOT_FOUND})


class Acknowledged:
    """What was acknowledged since the drill began, as far as later checks need it."""

    def __init__(self) -> None:
        self._last_change = 0
        self._changes = 0
        self._repeated: set[UUID] = set()

    async def hold(
        self, superuser: asyncpg.Connection, journal: Round, records: int, logs: Iterable[Path]
    ) -> Counter[str]:
        """Hold a round against the database, and return how much was held. Nobody writes meanwhile.

        records: how many there must be by now. logs: of the services, for what could be written nowhere else.

        Raises:
            DrillError: something is otherwise. The message says what.
        """
        require(not journal.odd, f"{len(journal.odd)} answers that nobody should get, the first: {journal.odd[:3]}")
        held: Counter[str] = Counter()
        held["writes"] = await self._hold_writes(superuser, journal.of(Told.DONE))
        await _hold_rows(superuser, journal.touched)
        found = int(await superuser.fetchval("select count(*) from record"))
        require(found == records, f"there are {found} records, and must be {records}")
        self._repeated |= {one.request_id for one in journal.of(Told.REPEATED) if one.request_id is not None}
        held["changes"] = await self._hold_entries(superuser)
        held["reads"] = await _hold_reads(superuser, [o for o in journal.of(Told.DONE) if _is_read(o)])
        held["refused"] = await _hold_refusals(superuser, journal.of(Told.REFUSED), logs)
        wrong = await untold(superuser)
        require(not wrong, f"values of rows are others than the trail's last word of them: {wrong}")
        return held

    async def _hold_writes(self, superuser: asyncpg.Connection, acts: Sequence[Act]) -> int:
        """Hold every change of a record against the one operation that was acknowledged, in both directions."""
        rows = await superuser.fetch(_CHANGED, self._last_change)
        self._last_change = max((row["id"] for row in rows), default=self._last_change)
        found = [
            (row["action"], row["entity_id"], row["before" if row["operation"] == "DELETE" else "after"])
            for row in rows
        ]
        expected = {(str(one.action), one.record_id, one.version): one for one in acts if not _is_read(one)}
        doubled = [key for key, count in Counter(found).items() if count > 1]
        require(not doubled, f"{len(doubled)} writes happened twice, the first: {doubled[:1]}")
        lost = expected.keys() - set(found)
        require(not lost, f"{len(lost)} acknowledged writes are lost, the first: {list(lost)[:1]}")
        unasked = set(found) - expected.keys()
        require(not unasked, f"{len(unasked)} changes are there that nobody was told of: {list(unasked)[:1]}")
        for key, row in zip(found, rows, strict=True):
            asked = expected[key].request_id
            require(asked is None or asked == row["request_id"], f"{key} stands under another request")
        return len(expected)

    async def _hold_entries(self, superuser: asyncpg.Connection) -> int:
        """Hold changes against entries in both directions, and return how many changes are new.

        One entry has no change by right: of a creation that was tried again and answered as it was. It says that
        somebody asked for it again, and no row changed.
        """
        count = int(await superuser.fetchval(_WITHOUT_ENTRY))
        require(not count, f"{count} changes have no entry of their kind")
        bare = [
            row
            for row in await superuser.fetch(_WITHOUT_CHANGE)
            if not (row["action"] == Action.RECORD_CREATE and row["request_id"] in self._repeated)
        ]
        require(not bare, f"{len(bare)} entries say that something was done, and nothing changed: {bare[:1]}")
        before, self._changes = self._changes, int(await superuser.fetchval("select count(*) from change"))
        return self._changes - before


def _is_read(act: Act) -> bool:
    return act.action is Action.FIELD_READ


async def _hold_rows(superuser: asyncpg.Connection, touched: dict[UUID, Kept | None]) -> None:
    """Hold the rows against what their writers know of them."""
    rows = {row["id"]: row for row in await superuser.fetch(_LIVE, list(touched))}
    for record_id, kept in touched.items():
        row = rows.get(record_id)
        found = None if row is None else (row["version"], row["status"], row["site_code"], row["results"])
        must = None if kept is None else (kept.version, kept.status, kept.site_code, kept.results)
        require(found == must, f"the record {record_id} is {found}, and must be {must}")


async def _hold_reads(superuser: asyncpg.Connection, acts: Sequence[Act]) -> int:
    """Hold each read that was answered against the log: both columns, with that row."""
    entries = await _entries_of(superuser, acts)
    for act in acts:
        logged = {
            row["field"]
            for row in entries.get(act.request_id, ())
            if row["kind"] == "READ" and act.record_id in row["entity_ids"]
        }
        require(logged >= _READ_FIELDS, f"the read {act.request_id} was answered, and only {logged} of it is logged")
    return len(acts)


async def _hold_refusals(superuser: asyncpg.Connection, acts: Sequence[Act], logs: Iterable[Path]) -> int:
    """Hold each refusal against its entry; where it could not be written, against the service's log."""
    entries = await _entries_of(superuser, acts)
    missing = []
    for act in acts:
        found = entries.get(act.request_id, [])
        changes = [row for row in found if row["kind"] == "CHANGE"]
        require(not changes, f"the request {act.request_id} was refused, and there is a change of it")
        outcome = "DENIED" if act.code in _DENIED else "FAILED"
        said = ("ATTEMPT", act.action, outcome, act.code)
        if said not in {(row["kind"], row["action"], row["outcome"], row["error_code"]) for row in found}:
            missing.append(act)
    if missing:
        unwritten = _unwritten(logs)
        silent = [one for one in missing if str(one.request_id) not in unwritten]
        require(not silent, f"{len(silent)} refusals left no entry and no line in the log, the first: {silent[:1]}")
    return len(acts) - len(missing)


async def _entries_of(superuser: asyncpg.Connection, acts: Sequence[Act]) -> dict[UUID | None, list[asyncpg.Record]]:
    found: dict[UUID | None, list[asyncpg.Record]] = {}
    for row in await superuser.fetch(_ENTRIES, [one.request_id for one in acts]):
        found.setdefault(row["request_id"], []).append(row)
    return found


def _unwritten(logs: Iterable[Path]) -> Collection[str]:
    """Return the requests of which the services' logs say that an attempt was not written."""
    found = set()
    for log in logs:
        for line in log.read_text(errors="replace").splitlines():
            said: Any = json.loads(line) if line.startswith("{") else {}
            if said.get("event") == "attempt_not_written":
                found.add(said["request_id"])
    return found
