"""What the rules want to know of an organization's sealed trail: new entries, and those of the time before them.

All of it is asked of one snapshot. The address that a request came from is compared by what stands for it, under a key
of the organization, and goes no further than here.
"""

import hmac
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import asyncpg

from models.audit_entry import AuditEntry, EntryKind
from models.encryption.blind_index import subkey
from models.encryption.column import open_light
from models.encryption.envelope import Cell, key_bytes_of
from models.encryption.keyring import active_keyring, load_each
from models.encryption.owner import index_owner
from models.errors import ErasedError, SealedError, TamperedError
from models.incident import IncidentStatus
from models.inventory import entity_of
from resolvers.incident_rule import Entry, Finding, Measure, Pattern, Rule, Whom, judge

MOST_BEFORE: Final = 10_000
"""Entries of the time before that a rule looks back over, the newest of them."""

_TABLE: Final = entity_of(AuditEntry).name
_COLUMNS: Final = (
    "e.id, l.leaf_index, e.at, e.kind, e.action, e.outcome, e.error_code, e.repeated, e.user_id, e.membership_id,"
    " e.service_account_id, e.device_id, e.entity, e.field"
)
# Of what was read the rows are many, and looked at only where there may be too many.
_IDS_OF_ATTEMPTS: Final = f"case when e.kind = '{EntryKind.ATTEMPT}' then e.entity_ids end as entity_ids, e.ip_address"
# Each by its key: where the database knows little of the tables yet, it would take a join for small, and look at the
# whole trail for each entry.
_JOINED: Final = (
    f"{_TABLE} e cross join lateral (select l.leaf_index from sealed_leaf l"
    " where l.organization_id = e.organization_id and l.id = e.id limit 1) l"
)
_ENTRIES: Final = (
    f"sealed_leaf l cross join lateral (select * from {_TABLE} e"
    " where e.organization_id = l.organization_id and e.id = l.id limit 1) e"
)
# An entry that the trail has let go of by now is no longer there to be judged.
_BATCH: Final = f"""
    select {_COLUMNS}, {_IDS_OF_ATTEMPTS} from {_ENTRIES}
    where l.organization_id = $1 and l.leaf_index >= $2 and l.leaf_index < $3 order by l.leaf_index
"""
# Who polls reads the same pages again and again: equal ones are put together before their rows are counted.
_OF_MANY: Final = f"""
    select n.membership_id, n.service_account_id
    from (select d.*, sum(cardinality(d.entity_ids)) over (partition by d.membership_id, d.service_account_id) as named
          from (select distinct e.membership_id, e.service_account_id, e.entity_ids from {_TABLE} e
                where {{where}}) d) n
    cross join unnest(n.entity_ids) as read
    where n.named >= ${{limit}}
    group by n.membership_id, n.service_account_id having count(distinct read) >= ${{limit}}
"""
# What a closed incident was about is over with it.
_CLOSED: Final = f"""
    select i.rule, i.key, max(l.leaf_index) as newest
    from incident i join sealed_leaf l on l.organization_id = i.organization_id and l.id = i.newest_entry_id
    where i.organization_id = $1 and i.status = '{IncidentStatus.CLOSED}'
      and (i.rule, i.key) in (select * from unnest($2::text[], $3::text[]))
    group by i.rule, i.key
"""
_PLAIN: Final = tuple(name.strip().partition(".")[2] for name in _COLUMNS.split(","))

Key = tuple[str, str]
"""A rule's name and a subject's key."""


@dataclass(frozen=True, slots=True)
class Look:
    """Asks, of one snapshot, what the rules want to know. Leaves from `start` up to `until` are new."""

    connection: asyncpg.Connection
    organization_id: UUID
    start: int
    until: int

    async def batch(self) -> list[Entry]:
        """Return the new entries, in the order of the trail."""
        rows = await self.connection.fetch(_BATCH, self.organization_id, self.start, self.until)
        return await _entries(self.organization_id, rows)

    async def find(self, rule: Rule, limit: int, batch: Sequence[Entry]) -> list[Finding]:
        """Return what the rule finds, with what of a closed incident is left out."""
        new = [entry for entry in batch if rule.looks_at(entry) and rule.subject(entry) is not None]
        if not new or rule.pattern is None:
            return []
        entries = new if rule.window is None else await self._with_window(rule, rule.pattern, limit, new)
        found = judge(rule, limit, entries, new_from=self.start)
        if rule.window is None or not found:
            return found
        over = await self._over(found)
        if not over:
            return found
        left = [entry for entry in entries if entry.leaf_index > over.get(_key_of(rule, entry), -1)]
        return judge(rule, limit, left, new_from=self.start)

    async def _with_window(self, rule: Rule, pattern: Pattern, limit: int, new: Sequence[Entry]) -> Sequence[Entry]:
        """Return the new entries after those before them that the rule counts with them."""
        if rule.window is None:
            return new
        arguments: list[Any] = [self.organization_id, min(one.at for one in new) - rule.window, pattern.outcome]
        wanted = ["e.organization_id = $1", f"e.kind = '{pattern.kind}'", "e.at > $2", "e.outcome = $3"]
        columns = {f"{table}.{name}" for table, name in pattern.columns}
        for place, values in (
            ("e.action", pattern.actions),
            ("e.error_code", pattern.error_codes),
            ("e.entity || '.' || e.field", columns),
        ):
            if values:
                arguments.append(sorted(values))
                wanted.append(f"{place} = any(${len(arguments)})")
        wanted.append(_about(rule, new, arguments))
        where = " and ".join(wanted)
        if rule.measure is Measure.ROWS:
            return await self._of_many_rows(limit, where, arguments)
        return [*await self._newest(where, arguments, self.start), *new]

    async def _of_many_rows(self, limit: int, where: str, arguments: list[Any]) -> Sequence[Entry]:
        """Return the entries with the rows that they name, of those subjects alone that may have read too many.

        What is not sealed yet is counted with for that, so nobody is left out.
        """
        many = await self.connection.fetch(_OF_MANY.format(where=where, limit=len(arguments) + 1), *arguments, limit)
        if not many:
            return []
        more = [*arguments, [row["membership_id"] for row in many], [row["service_account_id"] for row in many]]
        person, program = len(more) - 1, len(more)
        are_many = f"(e.membership_id = any(${person}::uuid[]) or e.service_account_id = any(${program}::uuid[]))"
        return await self._newest(f"{where} and {are_many}", more, self.until)

    async def _newest(self, where: str, arguments: Sequence[Any], until: int) -> list[Entry]:
        """Return the entries that are meant, of leaves before that one, in the order of the trail."""
        rows = await self.connection.fetch(
            f"select {_COLUMNS}, e.entity_ids, e.ip_address from {_JOINED}"
            f" where {where} and l.leaf_index < ${len(arguments) + 1}"
            f" order by l.leaf_index desc limit {MOST_BEFORE}",
            *arguments,
            until,
        )
        return [*reversed(await _entries(self.organization_id, rows))]

    async def _over(self, found: Sequence[Finding]) -> dict[Key, int]:
        """Return the newest leaf of incidents about the same that are closed."""
        keys = [key_of_finding(one) for one in found]
        rows = await self.connection.fetch(_CLOSED, self.organization_id, *map(list, zip(*keys, strict=True)))
        return {(row["rule"], row["key"]): row["newest"] for row in rows}


def _about(rule: Rule, new: Sequence[Entry], arguments: list[Any]) -> str:
    """Return the condition of entries that may be about the same as new ones, and add what it binds."""

    def bound(values: Iterable[UUID | None]) -> str:
        arguments.append(sorted({value for value in values if value is not None}))
        return f"any(${len(arguments)}::uuid[])"

    if rule.whom is Whom.ADDRESS:
        return "e.user_id is null and e.membership_id is null and e.service_account_id is null"
    if rule.whom is Whom.ACCOUNT:
        arguments.append(sorted({entry.entity_ids[0] for entry in new}))
        return f"e.entity_ids && ${len(arguments)}::uuid[]"
    person = bound(entry.membership_id for entry in new)
    program = bound(entry.service_account_id for entry in new)
    return f"(e.membership_id = {person} or e.service_account_id = {program})"


async def _entries(organization_id: UUID, rows: Sequence[asyncpg.Record]) -> list[Entry]:
    """Return the entries, with what stands for the addresses of those that nobody was signed in to.

    The address itself goes no further than here.
    """
    anonymous = [row for row in rows if row["ip_address"] is not None and _is_anonymous(row)]
    marks: dict[UUID, str] = {}
    if anonymous:
        keyring, owner = active_keyring(), index_owner(organization_id)
        # What does not open, or has no key any more, is nobody's address: nobody blinds the judge with it.
        await load_each(keyring.load, [owner])
        named = set()
        for row in anonymous:
            with suppress(TamperedError):
                named.add(UUID(bytes=key_bytes_of(row["ip_address"])))
        await load_each(keyring.load_ids, named)
        for row in anonymous:
            cell = Cell(organization_id, _TABLE, "ip_address", row["id"])
            with suppress(ErasedError, SealedError, TamperedError):
                key = subkey(keyring.current(owner), "incident address")
                address = open_light(row["ip_address"], cell)
                marks[row["id"]] = hmac.digest(key, address.encode(), "sha256")[:16].hex()
    return [
        Entry(
            **{name: row[name] for name in _PLAIN},
            entity_ids=tuple(row["entity_ids"] or ()),
            address=marks.get(row["id"]),
        )
        for row in rows
    ]


def _is_anonymous(row: asyncpg.Record) -> bool:
    is_refused = row["kind"] == EntryKind.ATTEMPT
    return is_refused and all(row[name] is None for name in ("user_id", "membership_id", "service_account_id"))


def key_of_finding(finding: Finding) -> Key:
    """Return what tells the incident of a finding from others."""
    return finding.rule.name, finding.subject.key


def _key_of(rule: Rule, entry: Entry) -> Key:
    subject = rule.subject(entry)
    return rule.name, subject.key if subject is not None else ""
