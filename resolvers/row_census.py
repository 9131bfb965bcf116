"""A census of rows: how many there are of each organization in each audited table, and how many there must be later.

The census is of one moment, with what PostgreSQL calls its snapshot: which transactions are in it. Every change of an
audited table is in the trail with its transaction. So it can be said exactly how many rows a database must have that
was restored to any later moment: those of the census, and what the transactions that are not in it put in and took out.
Numbers of transactions survive a physical restore, and no other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg

from auth.principal import SYSTEM_ID
from models.encryption.keystore import KeyStore
from models.inventory import Entity, entities
from models.reading import Snapshot
from models.transaction import Tenant
from resolvers.key_rotation import Progress

LONGEST_COUNT_S: Final = 3600.0
"""Seconds that the counting of one table may take: it is not a request's statement."""

_NOW: Final = "select pg_current_snapshot()::text as snapshot, clock_timestamp() as at"
_SINCE: Final = """
    select c.entity, count(*) filter (where c.operation = 'INSERT') - count(*) filter (where c.operation = 'DELETE')
             as more
      from audit_entry e join change c on c.organization_id = e.organization_id and c.entry_id = e.id
     where e.organization_id = $1 and e.kind = 'CHANGE'
       and e.transaction_id >= pg_snapshot_xmin($2::text::pg_snapshot)::text::bigint
       and not pg_visible_in_snapshot(e.transaction_id::text::xid8, $2::text::pg_snapshot)
     group by c.entity
"""


@dataclass(frozen=True, slots=True)
class Census:
    """What was counted. rows: by organization and table; tables without rows are left out.

    wrapping_keys: the providers and names of the keys that had wrapped data keys which were not destroyed.
    """

    at: datetime
    snapshot: str
    rows: Mapping[UUID, Mapping[str, int]]
    wrapping_keys: Sequence[tuple[str, str]] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        return {
            "at": self.at.isoformat(),
            "snapshot": self.snapshot,
            "rows": {str(organization_id): dict(tables) for organization_id, tables in self.rows.items()},
            "wrapping_keys": [list(one) for one in self.wrapping_keys],
        }

    @classmethod
    def of_json(cls, said: Mapping[str, Any]) -> "Census":
        """Return the census that was written down. Raises `ValueError` if it is none."""
        try:
            return cls(
                at=datetime.fromisoformat(said["at"]),
                snapshot=str(said["snapshot"]),
                rows={
                    UUID(organization_id): {str(table): int(count) for table, count in tables.items()}
                    for organization_id, tables in said["rows"].items()
                },
                wrapping_keys=[(str(provider), str(key)) for provider, key in said["wrapping_keys"]],
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError("This is no census of rows.") from error

    @property
    def total(self) -> int:
        """How many rows there were."""
        return sum(count for tables in self.rows.values() for count in tables.values())


@dataclass(frozen=True, slots=True)
class Miscount:
    """A table of an organization that has other than the rows that it must have."""

    organization_id: UUID
    table: str
    expected: int
    got: int

    def __str__(self) -> str:
        return f"{self.table} of {self.organization_id}: expected {self.expected:,} rows, got {self.got:,}"


async def take_census(store: KeyStore, *, progress: Progress = lambda *_: None) -> Census:
    """Count the rows of all audited tables, in one snapshot, and return how many there are.

    Raises:
        UnavailableError: a database is away.
    """
    async with Snapshot(Tenant(organization_id=SYSTEM_ID)) as connection:
        await _take_time(connection)
        [now] = await connection.fetch(_NOW)
        rows = await _count(connection, [SYSTEM_ID, *await store.organizations()], progress)
    counts = await store.counts()
    keys = {(one.provider, one.wrapping_key) for one in counts if one.current + one.retired}
    return Census(now["at"], now["snapshot"], rows, sorted(keys))


async def compare_census(
    store: KeyStore, census: Census, *, progress: Progress = lambda *_: None
) -> tuple[int, list[Miscount]]:
    """Hold the database against a census of an earlier moment of it; return how many rows there are, and what is wrong.

    Raises:
        UnavailableError: a database is away.
    """
    wrong: list[Miscount] = []
    async with Snapshot(Tenant(organization_id=SYSTEM_ID)) as connection:
        await _take_time(connection)
        await connection.fetchval("select 1")
        organizations = sorted({SYSTEM_ID, *await store.organizations(), *census.rows})
        found = await _count(connection, organizations, progress)
        for organization_id in organizations:
            await connection.execute(Tenant(organization_id=organization_id).entering())
            since = await connection.fetch(_SINCE, organization_id, census.snapshot, timeout=LONGEST_COUNT_S)
            more = {row["entity"]: row["more"] for row in since}
            before, here = census.rows.get(organization_id, {}), found.get(organization_id, {})
            for entity in counted():
                expected = before.get(entity.name, 0) + more.get(entity.name, 0)
                if (got := here.get(entity.name, 0)) != expected:
                    wrong.append(Miscount(organization_id, entity.name, expected, got))
    return sum(count for tables in found.values() for count in tables.values()), wrong


def counted() -> list[Entity]:
    """Return the tables whose rows are counted: those of which the trail tells each row that came and went."""
    return [one for one in entities() if one.model.is_audited and "organization_id" in one.columns]


async def _count(
    connection: asyncpg.Connection, organizations: Sequence[UUID], progress: Progress
) -> dict[UUID, dict[str, int]]:
    found: dict[UUID, dict[str, int]] = {}
    counted_so_far = 0
    for organization_id in organizations:
        await connection.execute(Tenant(organization_id=organization_id).entering())
        tables: dict[str, int] = {}
        for entity in counted():
            text = f'select count(*) from "{entity.name}" where organization_id = $1'
            if count := int(await connection.fetchval(text, organization_id, timeout=LONGEST_COUNT_S)):
                tables[entity.name] = count
                counted_so_far += count
                progress("Counting rows", counted_so_far, None)
        if tables:
            found[organization_id] = tables
    return found


async def _take_time(connection: asyncpg.Connection) -> None:
    await connection.execute(f"set local statement_timeout = {int(LONGEST_COUNT_S * 1000)}")
