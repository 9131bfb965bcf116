"""Whether every row is what the trail says: all its changes, one over the other, must give the row as it lies there.

So a row that was changed behind the triggers' back is named, and one that was set back to what it once held. Changes
and rows are read side by side in the order of the rows' ids, some hundreds at a time, from one snapshot.

People's accounts lie outside the tenants, and what changed them is spread over the trails of all organizations that a
person is a member of. An account is verified with each of these organizations, by the changes of all of them. One that
is no member of anything can't do anything, and is not looked at.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson

from models.finding import FindingKind, Findings
from models.inventory import Entity, entities, entity_of
from models.retracing import Trace, told
from models.transaction import Tenant
from models.user import User
from resolvers.pace import Pace
from resolvers.tree_verification import FIRST_ID, id_after

PAGE: Final = 500
"""Changes or rows that are looked at together."""

CHANGES: Final = "Changes"
ROWS: Final = "Rows"

_LOWEST: Final = -(2**63)
_CHANGES: Final = """
    select c.id, c.entry_id, c.entity_id, c.operation, c.columns::text as columns,
           exists (select from audit_entry e where e.organization_id = $1 and e.id = c.entry_id) as has_entry
    from change c
    where c.organization_id = $1 and c.entity = $2 and (c.entity_id, c.id) > ($3, $4)
    order by c.entity_id, c.id limit $5
"""
_ELSEWHERE: Final = """
    select c.id, c.entity_id, c.operation, c.columns::text as columns from change c
    where c.organization_id = $1 and c.entity = $2 and c.entity_id = $3 order by c.id
"""
_NO_TABLE: Final = (
    "select id, entity from change where organization_id = $1 and entity <> all($2) order by id limit 100"
)
_MEMBERS: Final = """
    select m.user_id as id from membership m where m.organization_id = $1 and m.user_id >= $2
    order by m.user_id limit $3
"""
_ACCOUNT: Final = """
    select (select to_jsonb(u)::text from user_account u where u.id = $1) as account,
           array(select m.organization_id from membership m where m.user_id = $1 order by 1) as organizations
"""
_ONE_FORM: Final = "set local timezone = 'UTC'; set local bytea_output = 'hex'; set local extra_float_digits = 1"
_USERS: Final = entity_of(User)


async def verify_rows(connection: asyncpg.Connection, findings: Findings, pace: Pace, *, is_whole: bool = True) -> None:
    """Verify the rows of the tenant that the connection is set to, and its members' accounts.

    is_whole: whether the trail still holds every change; else rows are compared as far as it does.
    """
    # As the triggers tell values, whatever a session has set.
    await connection.execute(_ONE_FORM)
    audited = [entity for entity in entities() if entity.model.is_audited]
    for entity in audited:
        if entity is _USERS:
            await _verify_accounts(connection, findings, pace, is_whole=is_whole)
        else:
            await _verify_table(connection, findings, entity, pace, is_whole=is_whole)
    names = [entity.name for entity in audited]
    for row in await connection.fetch(_NO_TABLE, findings.organization_id, names):
        findings.add(FindingKind.STRAY, f"change {row['id']}", expected="an audited table", got=row["entity"])


async def _verify_table(
    connection: asyncpg.Connection, findings: Findings, entity: Entity, pace: Pace, *, is_whole: bool
) -> None:
    traces = _traces(connection, findings, entity, pace, is_whole=is_whole)
    rows = _rows(connection, findings.organization_id, entity, pace)
    row: tuple[UUID, Mapping[str, Any]] | None = await anext(rows, None)
    async for row_id, trace in traces:
        while row is not None and row[0] < row_id:
            _compare(findings, entity, row[0], None, row[1])
            row = await anext(rows, None)
        if row is not None and row[0] == row_id:
            _compare(findings, entity, row_id, trace, row[1])
            row = await anext(rows, None)
        else:
            _compare(findings, entity, row_id, trace, None)
    while row is not None:
        _compare(findings, entity, row[0], None, row[1])
        row = await anext(rows, None)


async def _verify_accounts(connection: asyncpg.Connection, findings: Findings, pace: Pace, *, is_whole: bool) -> None:
    """Verify the accounts of all members, and of all whose account the organization's trail tells of."""
    organization_id = findings.organization_id
    start: UUID | None = FIRST_ID
    while start is not None:
        members = await connection.fetch(_MEMBERS, organization_id, start, PAGE)
        for member in members:
            await _verify_account(connection, findings, member["id"], is_whole=is_whole)
        await pace.note(ROWS, len(members))
        start = id_after(members[-1]["id"]) if len(members) == PAGE else None
    seen: UUID | None = None
    async for change in _changes(connection, findings, _USERS, pace):
        if change["entity_id"] != seen:
            seen = change["entity_id"]
            if not await connection.fetchval(
                "select exists (select from membership where organization_id = $1 and user_id = $2)",
                organization_id,
                seen,
            ):
                await _verify_account(connection, findings, seen, is_whole=is_whole)


async def _verify_account(connection: asyncpg.Connection, findings: Findings, user_id: UUID, *, is_whole: bool) -> None:
    organization_id = findings.organization_id
    # Oneself one always sees, and all of one's memberships.
    await connection.execute(Tenant(organization_id, user_id).entering())
    (found,) = await connection.fetch(_ACCOUNT, user_id)
    changes: list[Any] = []
    for each in {*found["organizations"], organization_id}:
        await connection.execute(Tenant(each).entering())
        changes += await connection.fetch(_ELSEWHERE, each, _USERS.name, user_id)
    await connection.execute(Tenant(organization_id).entering())
    trace = Trace(is_whole)
    # Numbers of changes are given once for all organizations, and in the order in which a row was changed.
    for change in sorted(changes, key=lambda one: int(one["id"])):
        trace.follow(change["operation"], _columns(change))
    row = None if found["account"] is None else told(_USERS, _parsed(found["account"]))
    _compare(findings, _USERS, user_id, trace if changes else None, row)


async def _traces(
    connection: asyncpg.Connection, findings: Findings, entity: Entity, pace: Pace, *, is_whole: bool
) -> AsyncIterator[tuple[UUID, Trace]]:
    """Yield each row that the trail tells of, and what it says of it, in the order of their ids."""
    row_id: UUID | None = None
    trace = Trace(is_whole)
    async for change in _changes(connection, findings, entity, pace):
        if change["entity_id"] != row_id:
            if row_id is not None:
                yield row_id, trace
            row_id, trace = change["entity_id"], Trace(is_whole)
        trace.follow(change["operation"], _columns(change))
    if row_id is not None:
        yield row_id, trace


async def _changes(
    connection: asyncpg.Connection, findings: Findings, entity: Entity, pace: Pace
) -> AsyncIterator[Any]:
    row_id, change_id = FIRST_ID, _LOWEST
    while True:
        page: Sequence[Any] = await connection.fetch(
            _CHANGES, findings.organization_id, entity.name, row_id, change_id, PAGE
        )
        for change in page:
            if not change["has_entry"]:
                findings.add(
                    FindingKind.STRAY,
                    f"change {change['id']} of {entity.name} {change['entity_id']}",
                    expected=f"entry {change['entry_id']}",
                    got="none",
                    table=entity.name,
                    row_id=change["entity_id"],
                )
            yield change
        await pace.note(CHANGES, len(page))
        if len(page) < PAGE:
            return
        row_id, change_id = page[-1]["entity_id"], page[-1]["id"]


async def _rows(
    connection: asyncpg.Connection, organization_id: UUID, entity: Entity, pace: Pace
) -> AsyncIterator[tuple[UUID, Mapping[str, Any]]]:
    """Yield the table's rows of the organization, as the trail would tell of them, in the order of their ids."""
    tenant = entity.placement.tenant_column if entity.placement is not None else None
    statement = (
        f'select r.id, to_jsonb(r)::text as line from "{entity.name}" r'
        f" where r.{tenant} = $1 and r.id >= $2 order by r.id limit $3"
    )
    start: UUID | None = FIRST_ID
    while start is not None:
        page = await connection.fetch(statement, organization_id, start, PAGE)
        for row in page:
            yield row["id"], told(entity, _parsed(row["line"]))
        await pace.note(ROWS, len(page))
        start = id_after(page[-1]["id"]) if len(page) == PAGE else None


def _compare(
    findings: Findings, entity: Entity, row_id: UUID, trace: Trace | None, row: Mapping[str, Any] | None
) -> None:
    what = f"{entity.name} {row_id}"

    def add(kind: FindingKind, said: str = what, **more: str) -> None:
        findings.add(kind, said, table=entity.name, row_id=row_id, **more)

    if trace is None:
        if row is not None:
            add(FindingKind.ROW_INSERTED, expected="no such row, as the trail tells of none", got="a row")
        return
    if trace.departed:
        add(FindingKind.BROKEN_OFF, f"{what}: {', '.join(sorted(trace.departed))}")
    if row is None:
        if trace.values is not None:
            add(FindingKind.ROW_DELETED, expected="a row, as the trail tells", got="none")
    elif trace.values is None:
        add(FindingKind.ROW_INSERTED, expected="no row, as the trail says it was deleted", got="a row")
    elif differences := trace.differences(row):
        add(FindingKind.ROW_CHANGED, f"{what}: {', '.join(differences)}", expected="the trail's values", got="others")


def _columns(change: Any) -> Mapping[str, Any]:
    return _parsed(change["columns"])


def _parsed(text: str) -> Mapping[str, Any]:
    """Return an object of the database's JSON. What we never write, and can't read, differs from all that we do."""
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError:
        parsed = None
    return parsed if isinstance(parsed, dict) else {"columns": text}
