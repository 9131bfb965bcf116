"""What there is: every row of every type, read by the superuser, and every value as the tenant's owner reads it.

Which row lies in which project, whose it is and what it leads to is said here once more, from the tables alone.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import asyncpg

from tests.support.world import connect
from tests.sweep.contract import Contract
from tests.sweep.page import FieldRow, Page
from tests.sweep.principal import Names, Principal
from tests.sweep.stage import Cast

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """The table of a type: the columns that name the row's tenant and project, and whose it is; and its order.

    query: what its rows are, where they are not simply those of the table.
    """

    name: str
    project: str | None = None
    own: str | None = None
    tenant: str = "organization_id"
    order: str = "created_at"
    query: str | None = None


_VERSIONS: Final = """
    select concat(r.id, '/', e.id) as id, r.id as record_id, r.organization_id, r.project_id, e.id as entry_id,
           e.membership_id, e.service_account_id, e.device_id,
           max(c.id) as place, array_agg(c.id order by c.id) as changes
      from record r
      join change c on c.entity = 'record' and c.entity_id = r.id
        or c.entity = 'measurement' and (c.columns -> 'record_id') @> to_jsonb(array[r.id::text])
        or c.entity = 'measurement' and c.entity_id in (select m.id from measurement m where m.record_id = r.id)
      join audit_entry e on e.id = c.entry_id
     group by r.organization_id, r.id, e.organization_id, e.id
"""
_WITH_A_PAST: Final = """
    select r.* from {table} r where exists (
        select from change c where c.entity = '{table}' and c.entity_id = r.id and c.operation = 'INSERT')
"""
"""Of the others the stage has cut off the beginning."""
_STANDING: Final = """
    select * from session where revoked_at is null and least(idle_expires_at, expires_at) > clock_timestamp()
"""

TABLES: Final[Mapping[str, Table]] = {
    "Organization": Table("organization", tenant="id"),
    "Project": Table("project", project="id", order="code"),
    "Record": Table("record", project="project_id", order="collected_at"),
    "Measurement": Table("measurement", project="project_id", order="position"),
    "Site": Table("site", project="project_id", order="code"),
    "Device": Table("device", own="membership_id"),
    "User": Table("membership", own="id"),
    "Session": Table("session", own="membership_id", order="created_at desc", query=_STANDING),
    "ProjectMember": Table("project_membership", project="project_id", own="membership_id"),
    "CustomRole": Table("custom_role", order="name"),
    "ServiceAccount": Table("service_account"),
    "ServiceAccountToken": Table("service_account_token", order="created_at desc"),
    "ServiceAccountUse": Table("service_account_use"),
    "AuditEntry": Table("audit_entry", order="at"),
    "Change": Table("change", order="id"),
    "RecordVersion": Table("version", project="project_id", order="place", query=_VERSIONS),
    "PastRecord": Table("record", project="project_id", query=_WITH_A_PAST.format(table="record")),
    "PastMeasurement": Table(
        "measurement", project="project_id", order="position", query=_WITH_A_PAST.format(table="measurement")
    ),
    "TrailRetention": Table("trail_retention", order="kind"),
    "DataRetention": Table("data_retention"),
    "RetentionRun": Table("retention_run"),
    "LegalHold": Table("legal_hold"),
    "Incident": Table("incident", order="opened_at"),
    "IncidentEvidence": Table("incident_evidence", order="id"),
    "Invitation": Table("invitation"),
    "TrustedDocument": Table("trusted_document"),
    "AccessReview": Table("access_review"),
    "AccessReviewItem": Table("access_review_item"),
    "DataImport": Table("data_import", project="project_id"),
    "ImportMapping": Table("import_mapping", project="project_id", order="name"),
    "Export": Table("data_export", own="created_by_id"),
    "ExportProgress": Table("data_export_progress", own="created_by_id"),
    "ErasureRequest": Table("erasure_request", own="membership_id"),
}
CHILDREN: Final[Mapping[tuple[str, str], tuple[str, str]]] = {
    ("Project", "records"): ("Record", "project_id"),
    ("Project", "sites"): ("Site", "project_id"),
    ("Project", "members"): ("ProjectMember", "project_id"),
    ("Record", "measurements"): ("Measurement", "record_id"),
    ("User", "projectRoles"): ("ProjectMember", "membership_id"),
    ("User", "sessions"): ("Session", "membership_id"),
    ("AuditEntry", "changes"): ("Change", "entry_id"),
    ("Record", "history"): ("RecordVersion", "record_id"),
    ("PastRecord", "measurements"): ("PastMeasurement", "record_id"),
    ("Organization", "trailRetention"): ("TrailRetention", "organization_id"),
    ("Incident", "evidence"): ("IncidentEvidence", "incident_id"),
    ("AccessReview", "items"): ("AccessReviewItem", "access_review_id"),
    ("ServiceAccount", "tokens"): ("ServiceAccountToken", "service_account_id"),
}
"""By type and field: whose rows it leads to, and the column of those that names this one."""

COLUMNS: Final[Mapping[tuple[str, str], str]] = {
    ("Device", "user"): "membership_id",
    ("ProjectMember", "user"): "membership_id",
    ("Session", "user"): "membership_id",
    ("Session", "lastSeenAt"): "refreshed_at",
    ("AuditEntry", "user"): "membership_id",
    ("RecordVersion", "user"): "membership_id",
    ("Incident", "user"): "membership_id",
    ("Invitation", "user"): "membership_id",
    ("AccessReviewItem", "user"): "membership_id",
    ("AccessReviewItem", "subjectId"): "subject",
    ("ServiceAccountToken", "lastUse"): "id",
    ("DataImport", "dryRun"): "is_dry_run",
    ("Export", "filter"): "filter_given",
    ("Export", "progress"): "id",
    ("LegalHold", "on"): "subject_kind",
    ("LegalHold", "subjectId"): "subject",
    ("ErasureRequest", "user"): "membership_id",
    ("ErasureRequest", "names"): "named",
}
"""The columns that have another name than their field."""
GROWING: Final[Mapping[str, tuple[str, str]]] = {"AuditEntry": ("at", "at"), "Incident": ("openedAt", "opened_at")}
"""The types of which there is more while questions are asked: the filter, and the column, of when a row was made.
Sign-ins are none of them: who asks has one sign-in, from before the facts were read.
"""
NEWEST_FIRST: Final[Mapping[str, str]] = {
    **{name: column for name, (_, column) in GROWING.items()},
    **dict.fromkeys(("Invitation", "AccessReview", "TrustedDocument", "DataImport", "Export"), "created_at"),
    **dict.fromkeys(("RetentionRun", "LegalHold", "ErasureRequest"), "created_at"),
}
"""The types whose lists have one order, by when a row was made, the newest first: by the column."""
ONE_ORDER: Final[Mapping[str, str]] = {
    **NEWEST_FIRST,
    **{"ImportMapping": "name", "CustomRole": "name", "ServiceAccount": "created_at", "ProjectMember": "created_at"},
}
"""The types whose lists have one order, of which the page has no letter: the column that it is by."""
MOVING: Final = frozenset(
    {("Session", "lastSeenAt"), ("Session", "idleExpiresAt"), ("ServiceAccountUse", "usedAt")},
)
"""The moments that go on with each use of what is asked by: what is shown is never earlier than the facts say."""
ASKER: Final[Mapping[tuple[str, str], Callable[["Principal", "Row"], Any]]] = {
    ("Session", "isCurrent"): lambda who, row: row["id"] == who.caller.session_id,
}
"""The fields whose value depends on who asks, and what it is then. Of all others everybody is shown the owner's."""
PUBLIC: Final = frozenset({"organization_id"})
"""Columns that no field shows and that everybody knows who sees the row. Any other that no field shows is guarded, in
the trail, as what is plain of its table is.
"""
NEVER_SHOWN: Final = frozenset(
    {
        *("creation_digest", "token_digest", "refresh_digest", "spent_digest", "password_hash"),
        *("collector_index", "collector_pseudonym", "serial_index"),
    }
)
"""Columns of which the trail shows no value to anybody."""


NAMED_BY: Final[Mapping[str, tuple[str, str]]] = {
    "RecordVersion": ("entryId", "entry_id"),
    "PastMeasurement": ("measurementId", "id"),
}
"""By which field, and of which column, objects are known that have no id of their own."""
COMPUTED: Final = frozenset({"RecordGroup", "MeasurementGroup", "MeasurementSeries", "SeriesPoint"})
"""Types whose objects are no rows, but computed of rows."""
NODELESS: Final = frozenset({"Change", "RecordVersion", "PastRecord", "PastMeasurement", "ServiceAccountUse"})
"""Types whose objects are not fetched by an id."""


def named_by(type_name: str) -> str:
    """Return the field by which objects of a type are known."""
    return NAMED_BY[type_name][0] if type_name in NAMED_BY else "id"


def name_of(type_name: str, row: Row) -> str:
    """Return what that field says of a row."""
    return str(row[NAMED_BY[type_name][1]]) if type_name in NAMED_BY else f"{type_name}:{row['id']}"


def column_of(type_name: str, name: str, columns: Iterable[str]) -> str:
    """Return the column that a field is made of."""
    names = set(columns)
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    named = COLUMNS.get((type_name, name), snake)
    found = next((one for one in (named, f"{named}_id") if one in names), None)
    assert found is not None, f"say in COLUMNS which column {type_name}.{name} is made of"
    return found


@dataclass
class Facts:
    """All rows by type and id, in their order; and all values by type, id and field, as an owner reads them.

    at: the moment that all of it is of. trail_until: the end of what is known of the trail.
    """

    page: Page
    contract: Contract
    at: datetime
    trail_until: datetime
    rows: Mapping[str, Mapping[Any, Row]]
    values: dict[str, dict[Any, dict[str, Any]]]
    _visible: dict[tuple[str, str], list[Row]] = field(default_factory=dict)
    _children: dict[tuple[str, str, str], dict[Any, list[Row]]] = field(default_factory=dict)

    def place(self, type_name: str, row: Row, who: Principal) -> tuple[UUID | None, bool]:
        """Return in which project a row lies, and whether it is about who asks."""
        table = TABLES[type_name]
        own = table.own is not None and who.scope is None and row[table.own] == who.member_id
        return (row[table.project] if table.project else None), own

    def letters(self, who: Principal, said: FieldRow, row: Row) -> Names:
        """Return what somebody may do with a field of a row; nothing with a row of another tenant."""
        if row[TABLES[said.type_name].tenant] != who.organization_id:
            return frozenset()
        project, own = self.place(said.type_name, row, who)
        return who.letters(self.page, said, project, own=own)

    def sees(self, who: Principal, type_name: str, row: Row) -> bool:
        """Return whether the page says that somebody is shown the row at all."""
        first = next(iter(self.page.fields[type_name].values()))
        return "r" in self.letters(who, first, row)

    def visible(self, who: Principal, type_name: str) -> list[Row]:
        """Return the rows that somebody is shown, in the type's own order."""
        found = self._visible.get((who.key, type_name))
        if found is None:
            rows = self.rows[type_name].values()
            found = self._visible[who.key, type_name] = [row for row in rows if self.sees(who, type_name, row)]
        return found

    def children(self, who: Principal, type_name: str, name: str, row: Row) -> list[Row]:
        """Return the rows that a field leads to for somebody, in their own order."""
        assert (type_name, name) in CHILDREN, f"say in CHILDREN where {type_name}.{name} leads"
        child, column = CHILDREN[type_name, name]
        by_parent = self._children.get((who.key, type_name, name))
        if by_parent is None:
            by_parent = self._children[who.key, type_name, name] = {}
            for one in self.visible(who, child):
                by_parent.setdefault(one[column], []).append(one)
        return by_parent.get(row["id"], [])

    def linked(self, type_name: str, name: str, row: Row) -> Any:
        """Return the id that a link holds; of what is named by a code, the id of what has it."""
        if (type_name, name) == ("Record", "site"):
            place = row["project_id"], row["site_code"]
            return next((k for k, one in self.rows["Site"].items() if (one["project_id"], one["code"]) == place), None)
        return row[column_of(type_name, name, row.keys())]


async def load_facts(page: Page, contract: Contract, cast: Cast) -> Facts:
    """Read all that there is now, everybody's sign-in and use of a token among it.

    Of the trail, what was written before the first question.
    """
    since = _ask_once(cast)
    connection: asyncpg.Connection = await connect(cast.superuser)
    try:
        await _until_noted(connection, cast, since)
        await _until_sent(connection)
        at: datetime = await connection.fetchval("select clock_timestamp()")
        await _until_sealed(connection, at)
        rows: dict[str, dict[Any, Row]] = {}
        for type_name, table in TABLES.items():
            late = f" where {GROWING[type_name][1]} < $1" if type_name in GROWING else ""
            source = f"({table.query}) q" if table.query is not None else f'"{table.name}"'
            found = await connection.fetch(
                f"select * from {source}{late} order by {table.order}, id", *([cast.trail_until] if late else [])
            )
            rows[type_name] = {row["id"]: dict(row) for row in found}
    finally:
        await connection.close()
    missing = set(page.fields) - set(TABLES) - COMPUTED
    assert not missing, f"say in TABLES where the rows of {missing} lie"
    facts = Facts(page, contract, at, cast.trail_until, rows, {})
    for owner in ("owner", "other-owner"):
        _read_values(facts, cast.principals[owner])
    return facts


def _ask_once(cast: Cast) -> datetime:
    """Have everybody who is let in ask something, and return when they began to."""
    since = datetime.now(UTC)
    for who in cast.principals.values():
        if who.is_let_in:
            who.caller.run("{ viewer { role } }")
    return since


async def _until_noted(connection: asyncpg.Connection, cast: Cast, since: datetime) -> None:
    """Wait until the server has noted that the programs did."""
    programs = [who.account_id for who in cast.principals.values() if who.scope is not None and who.is_let_in]
    noted = (
        "select count(distinct t.service_account_id) from service_account_use u join service_account_token t"
        " on t.id = u.id where u.used_at >= $1 and t.service_account_id = any($2)"
    )
    async with asyncio.timeout(30):
        while True:
            if await connection.fetchval(noted, since, programs) == len(programs):
                return
            await asyncio.sleep(0.2)


async def _until_sent(connection: asyncpg.Connection) -> None:
    """Wait until the server has sent all letters: an invitation holds from when its letter is made."""
    async with asyncio.timeout(60):
        while True:
            if not await connection.fetchval("select count(*) from outgoing_mail where state = 'PENDING'"):
                return
            await asyncio.sleep(0.2)


async def _until_sealed(connection: asyncpg.Connection, at: datetime) -> None:
    """Wait until the server has sealed what was written before: from then on it is proved the same to everybody."""
    left = (
        "select count(*) from audit_entry e where at < $1 and not exists"
        " (select from sealed_leaf l where l.organization_id = e.organization_id and l.id = e.id)"
    )
    async with asyncio.timeout(30):
        while True:
            if not await connection.fetchval(left, at):
                return
            await asyncio.sleep(0.1)


def until(facts: Facts, type_name: str) -> str:
    """Return the argument that cuts a list of what grows where the facts end; nothing of what does not."""
    if type_name not in GROWING:
        return ""
    return f", filter: {{{GROWING[type_name][0]}: {{lt: {literal(facts.trail_until)}}}}}"


def literal(value: Any) -> str:
    """Return a value as GraphQL writes it."""
    return json.dumps(value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value, default=str)


def _read_values(facts: Facts, owner: Principal) -> None:
    for type_name, rows in facts.rows.items():
        mine = [row for row in rows.values() if row[TABLES[type_name].tenant] == owner.organization_id]
        values = facts.values.setdefault(type_name, {})
        if type_name not in NODELESS:
            _read_nodes(facts, owner, type_name, mine, values)
    for record in facts.rows["Record"].values():
        if record["organization_id"] == owner.organization_id:
            _read_past(facts, owner, record["id"])
    _read_uses(facts, owner)
    before = f"{{at: {{lt: {literal(facts.trail_until)}}}}}"
    reply = owner.caller.run(
        f"{{ auditEntries(first: 1000, filter: {before}) {{ nodes {{ id changes {{"
        f" {' '.join(facts.contract.leaves('Change'))} columns {{ column before after }} }} }} }} }}"
    )
    by_entry: dict[str, list[Row]] = {}
    for row in facts.rows["Change"].values():
        by_entry.setdefault(str(row["entry_id"]), []).append(row)
    for entry in reply.data["auditEntries"]["nodes"]:
        changed = by_entry.get(entry["id"].partition(":")[2], [])
        for row, shown in zip(changed, entry["changes"], strict=True):
            facts.values["Change"][row["id"]] = shown


def _read_uses(facts: Facts, owner: Principal) -> None:
    """Read when tokens were used last, which is asked for by the tokens alone."""
    use = " ".join(facts.contract.selected("ServiceAccountUse"))
    reply = owner.caller.run(f"{{ serviceAccounts(first: 100) {{ nodes {{ tokens {{ id lastUse {{ {use} }} }} }} }} }}")
    assert not reply.errors, reply.errors[:3]
    for account in reply.data["serviceAccounts"]["nodes"]:
        for token in account["tokens"]:
            if token["lastUse"] is not None:
                facts.values["ServiceAccountUse"][UUID(token["id"].partition(":")[2])] = token["lastUse"]


def _read_past(facts: Facts, owner: Principal, record_id: UUID) -> None:
    """Read a record's versions, and what it was: at the end of what is known, as it is."""
    past, part, version = [
        " ".join(facts.contract.selected(one)) for one in ("PastRecord", "PastMeasurement", "RecordVersion")
    ]
    reply = owner.caller.run(
        f'{{ past: recordAsOf(id: "Record:{record_id}", at: {literal(facts.at)}) {{ {past} measurements {{ {part} }} }}'
        f' record(id: "Record:{record_id}") {{ history(first: 100, direction: ASC) {{ nodes {{ {version} }} }} }} }}'
    )
    assert not reply.errors, reply.errors[:3]
    for shown in reply.data["record"]["history"]["nodes"]:
        facts.values["RecordVersion"][f"{record_id}/{shown['entryId']}"] = shown
    if reply.data["past"] is not None:
        facts.values["PastRecord"][record_id] = reply.data["past"]
        for shown in reply.data["past"]["measurements"]:
            facts.values["PastMeasurement"][UUID(shown["measurementId"])] = shown


def _read_nodes(
    facts: Facts, owner: Principal, type_name: str, rows: Sequence[Row], values: dict[Any, dict[str, Any]]
) -> None:
    leaves = " ".join(facts.contract.selected(type_name))
    for start in range(0, len(rows), 50):
        part = rows[start : start + 50]
        nodes = " ".join(f'n{index}: node(id: "{type_name}:{row["id"]}") {{ ...F }}' for index, row in enumerate(part))
        reply = owner.caller.run(f"{{ {nodes} }} fragment F on {type_name} {{ {leaves} }}")
        assert not reply.errors, (type_name, reply.errors[:3])
        for index, row in enumerate(part):
            values[row["id"]] = reply.data[f"n{index}"]
