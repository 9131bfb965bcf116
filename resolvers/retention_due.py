"""What of an organization's data is over, and what keeps it: in SQL, type by type.

A row is due where its period is over. Of those that are due, some are held, by a legal hold, and some are named: by
rows that are kept, and that would point at nothing. The rest is deleted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from models.base import WardModel
from models.data_export import DataExport
from models.data_import import DataImport
from models.data_kind import DataKind, Period
from models.device import Device
from models.inventory import Entity, entities, entity_of
from models.invitation import Invitation
from models.membership import Membership
from models.record import Record
from models.session import Session
from models.site import Site

ARRIVED_DAYS: Final = 7
"""For how long nothing is deleted that has just arrived, or just got another time, however old it says that it is."""


class Fetching(Protocol):
    """A connection that reads."""

    async def fetch(self, text: str, *arguments: Any) -> list[Any]:
        """Return the rows of a statement."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """How rows of a type are found and deleted. Conditions are SQL in which `t` is the row and `$1` its organization.

    since: the moment that the period counts from; null where it has not begun. is_over: what must hold besides.
    held: the arguments of `fieldward_held` after the organization, as in the triggers of the same migration.
    named: by what that no foreign key says it is still named. project: in which project it lies.
    parts: the tables that go with it, with the column that names it: those that no foreign key takes along come first,
    in their order. counted: the one whose rows are counted.
    """

    model: type[WardModel]
    since: str
    held: str
    is_over: str = "true"
    named: str = "false"
    project: str = "null::uuid"
    parts: Mapping[str, str] | None = None
    counted: str | None = None

    @property
    def entity(self) -> Entity:
        """The table."""
        return entity_of(self.model)

    @property
    def period(self) -> Period:
        """What an organization may set for it."""
        period = self.entity.kept.period
        if period is None:
            raise LookupError(f"No period is declared for {self.entity.name}.")
        return period


_ARRIVED: Final = f"transaction_timestamp() - interval '{ARRIVED_DAYS} days'"
_COLLECTED_ANEW: Final = f"""
    exists (select from change c
              join audit_entry e on e.organization_id = c.organization_id and e.id = c.entry_id
             where c.organization_id = t.organization_id and c.entity = 'record' and c.entity_id = t.id
               and c.columns ? 'collected_at' and e.at >= {_ARRIVED})
"""
"""That it was said only lately when a record was collected: whoever may change it deletes nothing by that."""
_LEFT_AT: Final = """
    coalesce((select max(e.at) from change c
                join audit_entry e on e.organization_id = c.organization_id and e.id = c.entry_id
               where c.organization_id = t.organization_id and c.entity = 'membership' and c.entity_id = t.id),
             t.created_at)
"""

DELETED: Final[Mapping[DataKind, Deleted]] = {
    DataKind.RECORD: Deleted(
        Record,
        since="t.collected_at",
        is_over=f"t.received_at < {_ARRIVED} and not {_COLLECTED_ANEW}",
        held="t.id, null, t.project_id, t.site_code, array_append(t.contributor_ids, t.created_by_id)",
        project="t.project_id",
        counted="measurement.record_id",
    ),
    DataKind.SITE: Deleted(
        Site,
        since="t.created_at",
        held="null, t.id, t.project_id, t.code, null",
        named="exists (select from record r where r.organization_id = t.organization_id"
        " and r.project_id = t.project_id and r.site_code = t.code)",
        project="t.project_id",
    ),
    DataKind.SESSION: Deleted(
        Session,
        since="least(coalesce(t.revoked_at, 'infinity'), t.expires_at, t.idle_expires_at)",
        held="null, null, null, null, array[t.membership_id]",
    ),
    DataKind.DEVICE: Deleted(
        Device,
        since="t.blocked_at",
        is_over="t.status = 'BLOCKED'",
        held="null, null, null, null, array[t.membership_id]",
    ),
    DataKind.MEMBERSHIP: Deleted(
        Membership,
        since=_LEFT_AT,
        is_over="t.status in ('REMOVED', 'ERASED')",
        held="null, null, null, null, array[t.id]",
        named="exists (select from record r where r.organization_id = t.organization_id"
        " and t.id = any(r.contributor_ids))",
    ),
    DataKind.INVITATION: Deleted(
        Invitation,
        since="t.expires_at",
        held="null, null, t.project_id, null, array[t.membership_id, t.invited_by_id]",
        project="t.project_id",
    ),
    DataKind.DATA_IMPORT: Deleted(
        DataImport,
        since="t.ended_at",
        is_over="t.status in ('DONE', 'CANCELLED', 'EXPIRED', 'FAILED')",
        held="null, null, t.project_id, null, array[t.created_by_id, t.started_by_id]",
        project="t.project_id",
        parts={"import_block": "import_id", "import_chunk": "import_id"},
    ),
    DataKind.EXPORT: Deleted(
        DataExport,
        since="t.finished_at",
        is_over="t.status not in ('PENDING', 'READY') and exists (select from data_export_progress p"
        " where p.organization_id = t.organization_id and p.id = t.id and p.swept_at is not null)",
        held="null, null, null, null, array[t.created_by_id]",
        parts={"data_export_progress": "id"},
    ),
}
"""Every type of data."""

_REFERENCES: Final = """
    select one.relname::text as holder, named.relname::text as named, h.attname::text as column
      from pg_constraint c
      join pg_class one on one.oid = c.conrelid
      join pg_class named on named.oid = c.confrelid
      join lateral unnest(c.conkey, c.confkey) as k(holder, named) on true
      join pg_attribute h on h.attrelid = c.conrelid and h.attnum = k.holder
      join pg_attribute n on n.attrelid = c.confrelid and n.attnum = k.named
     where c.contype = 'f' and c.confdeltype = 'a' and n.attname = 'id'
       and c.connamespace = 'public'::regnamespace
     order by 1, 3
"""


@dataclass(frozen=True, slots=True)
class Due:
    """The conditions of one type, made for the tables that there are: `$1` is the organization, `$2` the cutoff."""

    kind: DataKind
    how: Deleted
    references: str

    @property
    def over(self) -> str:
        """That the period of `t` is over."""
        return f"t.organization_id = $1 and {self.how.since} < $2 and {self.how.is_over}"

    @property
    def held(self) -> str:
        """That a legal hold keeps `t`."""
        return f"fieldward_held(t.organization_id, {self.how.held})"

    @property
    def named(self) -> str:
        """That something which is kept names `t`."""
        return f"({self.how.named}{self.references})"

    @property
    def table(self) -> str:
        """The table's name, and `t`."""
        return f'"{self.how.entity.name}" t'


async def due_of(connection: Fetching, kind: DataKind) -> Due:
    """Return the conditions of a type: what names its rows is asked of the database, so that no table is forgotten."""
    how = DELETED[kind]
    parts = set(how.parts or {})
    references = [
        f' or exists (select from "{row["holder"]}" x where x.organization_id = t.organization_id'
        f' and x."{row["column"]}" = t.id)'
        for row in await connection.fetch(_REFERENCES)
        if row["named"] == how.entity.name and row["holder"] not in parts
    ]
    return Due(kind, how, "".join(references))


def periods() -> Mapping[DataKind, Period]:
    """Return what an organization may set, of every type; as the tables say of themselves how long they are kept."""
    found = {one.kept.period.kind: one.kept.period for one in entities() if one.kept.period is not None}
    return {kind: found[kind] for kind in DataKind}
