"""What operations cost: ways to PostgreSQL, statements and guard decisions, each number as costs.toml says.

Counted in PostgreSQL's own log and in the operations' traces, for whoever asks. A number that changes is looked at, and
written anew by `make costs`. That no list costs more for more rows: tests/api/test_cost_of_rows.py.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from tests.conftest import Template
from tests.support.cost import Cost, CostBook, Meter
from tests.support.priced import (
    RUNS,
    Given,
    Ground,
    Operation,
    change,
    fresh_process,
    import_rows,
    lay_ground,
    look_as_another,
    read,
)
from tests.support.world import SIGN_IN, World

LATER: Final = (datetime.now(UTC) + timedelta(days=30)).isoformat()

RECORD: Final = "siteCode siteName latitude longitude collectedAt medium method status version"
PAGE: Final = f"query($n: Int) {{ records(first: $n) {{ nodes {{ id {RECORD} }} }} }}"
SEALED: Final = f"query($n: Int) {{ records(first: $n) {{ nodes {{ id {RECORD} comment collector }} }} }}"


def first(count: int) -> Given:
    """Return the variable that says how many rows a page has."""
    return lambda *_: {"n": count}


def record_of(ground: Ground, run: int) -> dict[str, Any]:
    """Return a new record."""
    return {
        "projectId": ground.stage.project,
        "siteCode": f"NEW-{run}",
        "collectedAt": "2026-01-02T03:04:05Z",
        "medium": "WATER",
        "comment": "Gate open.",
        "collector": "Cleo Cole",
    }


READS: Final = (
    read(
        "one record by its id",
        f"query($id: ID!) {{ record(id: $id) {{ {RECORD} }} }}",
        lambda on, _: {"id": on.stage.draft},
        why="Who asks, and the record.",
    ),
    read(
        "one record by its id, with what is sealed",
        f"query($id: ID!) {{ record(id: $id) {{ {RECORD} comment collector }} }}",
        lambda on, _: {"id": on.stage.draft},
        why="What was read of sealed columns is committed before the answer leaves: an entry for each column, one way.",
    ),
    read(
        "one record that a viewer may not read whole",
        "query($id: ID!) { record(id: $id) { siteCode comment } }",
        lambda on, _: {"id": on.stage.draft},
        who="viewer",
        codes=["FORBIDDEN"],
        why="Nothing sealed is read, so nothing is written; what is refused was decided once.",
    ),
    read(
        "an id that there is not",
        "query($id: ID!) { record(id: $id) { id } }",
        lambda *_: {"id": "Record:01a20000-0000-7000-8000-000000000000"},
        finds=False,
    ),
    read("node by its id", "query($id: ID!) { node(id: $id) { id } }", lambda on, _: {"id": on.stage.draft}),
    read("a page of 1 record", PAGE, first(1)),
    read("a page of 100 records", PAGE, first(100), why="As a page of 1."),
    read("a page of 1 record, with what is sealed", SEALED, first(1)),
    read("a page of 100 records, with what is sealed", SEALED, first(100), why="As a page of 1: one entry a column."),
    read(
        "records filtered",
        "query($f: RecordFilter) { records(filter: $f, first: 20) { nodes { siteCode } } }",
        lambda *_: {"f": {"siteCode": {"startsWith": "USGS"}, "collectedAt": {"lt": "2024-06-01T00:00:00Z"}}},
    ),
    read(
        "records filtered by a rectangle",
        "query($f: RecordFilter) { records(filter: $f, first: 20) { nodes { siteCode } } }",
        lambda *_: {"f": {"latitude": {"gte": 27.9, "lt": 28.1}, "longitude": {"gte": -82.5, "lt": -82.3}}},
    ),
    read(
        "records in another order",
        "{ records(first: 20, orderBy: {field: SITE_CODE, direction: DESC}) { nodes { siteCode } } }",
    ),
    read(
        "records with their cursors", "{ records(first: 20) { edges { cursor node { id } } pageInfo { endCursor } } }"
    ),
    read("records and their number", "{ records(first: 20) { totalCount nodes { siteCode } } }", why="A count more."),
    read("the number of records alone", "{ records { totalCount } }"),
    read(
        "groups of records",
        "{ recordGroups(by: [PROJECT, STATUS]) { projectId status count } }",
        why="The scopes that count are settled in the statement, not by decisions of rows.",
    ),
    read(
        "groups of measurements",
        "{ measurementGroups(by: [CHARACTERISTIC, UNIT]) { characteristic unit count valueAvg valueMax } }",
    ),
    read(
        "a series of measurements",
        '{ measurementSeries(characteristic: "Nitrogen", start: "1990-01-01T00:00:00Z", end: "2020-01-01T00:00:00Z",'
        " width: 10) { siteCode unit points { at min max } } }",
    ),
    read(
        "three levels: projects, records, measurements",
        "{ projects(first: 5) { nodes { code records(first: 20) { nodes { siteCode measurements { value } } } } } }",
        why="Measurements are read along with their records; the two levels of pages are of one moment.",
    ),
    read(
        "links of records",
        "{ records(first: 50) { nodes { project { code } device { model } createdBy { name } reviewedBy { name } } } }",
        who="owner",
        why="All that links lead to is read along. Each name that is read is logged.",
    ),
    read("lists below records", "{ records(first: 50) { nodes { measurements { characteristic value comment } } } }"),
    read(
        "two pages deep under many parents",
        "{ projects(first: 20) { nodes { records(first: 20) { totalCount nodes { siteCode } } } } }",
        who="owner",
        why="Projects, their records and their numbers: a statement each, however many projects.",
    ),
    read("who am I", "{ viewer { role user { name email } organization { name } } }"),
    read(
        "what may I",
        "{ viewer { permissions projectRoles { role project { code } } can(permission: RECORD_READ) } }",
    ),
    read(
        "what may I do with records",
        "{ records(first: 20) { nodes { viewerCan { update delete submit approve reject readableFields } } } }",
    ),
    read("the organization", "{ organization { name slug } }"),
    read("people", "{ users(first: 50) { nodes { name role projectRoles { role project { code } } } } }", who="owner"),
    read(
        "devices",
        "{ devices(first: 50) { nodes { model serialNumber user { name } blockedBy { name } } } }",
        who="admin",
    ),
    read(
        "audit entries with what they changed",
        "{ auditEntries(first: 20, filter: {kind: {eq: CHANGE}})"
        " { nodes { action user { name } changes { columns { column before after } } } } }",
        who="auditor",
        why="Names and values are of several owners of keys; the first time each key is loaded. An entry for each"
        " column that was read, the names of sign-ins among them.",
    ),
    read(
        "who read or changed a record",
        "query($f: AuditEntryFilter) { auditEntries(first: 20, filter: $f) { nodes { action at } } }",
        lambda on, _: {"f": {"entityIds": {"has": on.stage.draft}}},
        who="auditor",
        why="The entries, and one that says that they were read.",
    ),
    read(
        "the history of a record",
        "query($id: ID!) { record(id: $id)"
        " { history { nodes { version at action changes { columns { column before after } } } } } }",
        lambda on, _: {"id": on.stage.draft},
        why="The record, its versions in one statement, and an entry for each column that was opened.",
    ),
    read(
        "what a record was",
        "query($id: ID!, $at: DateTime!) { recordAsOf(id: $id, at: $at) { siteCode comment measurements { value } } }",
        lambda on, _: {"id": on.stage.draft, "at": LATER},
        why="Its versions; the record they make, and the measurements.",
    ),
    read("programs", "{ serviceAccounts(first: 20) { nodes { name permissions createdBy { name } } } }", who="owner"),
    read("roles of the organization's own", "{ roles(first: 20) { nodes { name level permissions } } }", who="owner"),
    read(
        "why somebody may",
        "query($p: ID!, $on: ID!)"
        ' { accessDecision(principal: $p, on: $on, field: "comment") { allowed reasons { says } } }',
        lambda on, _: {"p": on.stage.person, "on": on.stage.draft},
        who="owner",
    ),
    read(
        "what is stored",
        "{ dataInventory { name kept columns { name storage readBy { organizationRoles } } } }",
        who="auditor",
        why="Declared, not stored: nothing beyond who asks.",
    ),
    read(
        "aliased roots",
        "{ a: records(first: 5) { nodes { siteCode } } b: records(first: 5) { nodes { siteCode } }"
        " c: records(first: 5) { totalCount } }",
        why="Each root is a list of its own.",
    ),
    read(
        "two records by their ids",
        "query($a: ID!, $b: ID!) { a: record(id: $a) { siteCode } b: record(id: $b) { siteCode } }",
        lambda on, _: {"a": on.stage.draft, "b": on.stage.submitted},
        why="Ids that are asked for together are one statement.",
    ),
    read(
        "fragments",
        "{ records(first: 20) { nodes { ...R ... on Record { project { ...P } } } } }"
        " fragment R on Record { siteCode project { ...P } } fragment P on Project { code }",
        why="As without fragments.",
    ),
    read(
        "what is skipped",
        "query($no: Boolean!) { records(first: 20) { nodes { siteCode comment @include(if: $no)"
        " measurements @include(if: $no) { value } } totalCount @include(if: $no) } }",
        lambda *_: {"no": False},
        why="Nothing is asked, decided or logged of it.",
    ),
    read("a page of a program", "{ records(first: 20) { nodes { siteCode status } } }", who="program"),
    look_as_another(
        "look as another",
        "{ records(first: 20) { nodes { siteCode } } }",
        why="That somebody looks as another is an entry of the trail, committed before the answer leaves.",
    ),
    read("nobody asks who they are", "{ viewer { role } }", who="nobody", finds=False),
    read(
        "nobody asks for records",
        "{ records(first: 5) { nodes { id } } }",
        who="nobody",
        codes=["UNAUTHENTICATED"],
        finds=False,
        why="Not a statement for who is not signed in.",
    ),
)

CHANGES: Final = (
    change(
        "create a record",
        "createRecord",
        record_of,
        "record { id siteCode status }",
        why="Who asks, begin, entry and standing, what is relied on, the record, commit. It is not read again.",
    ),
    change(
        "create a record with measurements",
        "createRecord",
        lambda on, run: {
            **record_of(on, run),
            "measurements": [{"characteristic": "pH", "value": 7.1 + i, "unit": "std"} for i in range(5)],
        },
        "record { id measurements { value } }",
    ),
    change(
        "update a record",
        "updateRecord",
        lambda on, run: {"id": on.stage.draft, "expectedVersion": 1 + run, "comment": f"Again {run}."},
        "record { version comment }",
        who="collector",
    ),
    change(
        "submit a record",
        "submitRecord",
        lambda on, run: {"id": on.drafts[run], "expectedVersion": 1},
        "record { status }",
        who="collector",
    ),
    change(
        "approve a record",
        "approveRecord",
        lambda on, run: {"id": on.submitted[run], "expectedVersion": 2},
        "record { status }",
        who="reviewer",
        why="The signer's password is looked up and checked before anything is begun.",
    ),
    change(
        "reject a record",
        "rejectRecord",
        lambda on, run: {"id": on.submitted[RUNS + run], "expectedVersion": 2},
        "record { status }",
        who="reviewer",
    ),
    change(
        "delete a record",
        "deleteRecord",
        lambda on, run: {"id": on.drafts[RUNS + run], "expectedVersion": 1},
        "deletedId",
    ),
    change(
        "a change that is refused",
        "deleteRecord",
        lambda on, run: {"id": on.submitted[2 * RUNS + run], "expectedVersion": 2},
        "deletedId",
        who="viewer",
        codes=["FORBIDDEN"],
        why="Rolled back, and the attempt is written apart, on a pool of its own.",
    ),
    change(
        "give a role in a project",
        "assignProjectRole",
        lambda on, run: {
            "userId": on.stage.person,
            "projectId": on.stage.project,
            "role": ("VIEWER", "COLLECTOR", "REVIEWER")[run],
        },
        "user { id }",
        who="owner",
    ),
    change(
        "give a role in the organization",
        "assignOrganizationRole",
        lambda on, run: {"userId": on.stage.person, "role": ("AUDITOR", "MEMBER", "AUDITOR")[run]},
        "user { id }",
        who="owner",
    ),
    change(
        "create a project",
        "createProject",
        lambda _, run: {"code": f"NEW-{run}", "name": "New"},
        "project { id code }",
        who="owner",
    ),
    change(
        "define a role",
        "createRole",
        lambda _, run: {"name": f"New {run}", "level": "PROJECT", "permissions": ["PROJECT_READ"]},
        "role { id }",
        who="owner",
    ),
    change(
        "register a device",
        "registerDevice",
        lambda on, run: {
            "userId": on.stage.person,
            "platform": "IOS",
            "model": "iPhone 15",
            "serialNumber": f"SN-{run}",
        },
        "device { id }",
        who="admin",
    ),
    change(
        "make a program",
        "createServiceAccount",
        lambda _, run: {"name": f"New {run}", "permissions": ["PROJECT_READ"], "expiresAt": LATER},
        "serviceAccount { id }",
        who="owner",
    ),
    read(
        "sign in",
        SIGN_IN,
        lambda on, _: {
            "input": {"email": "viewer@clearwater.example", "password": on.world.passwords["viewer@clearwater.example"]}
        },
        who="nobody",
        why="The attempt is counted by account, address and client before the password is hashed, and what was counted"
        " is taken back after it.",
    ),
    import_rows("import 20 rows", why="Below the API, which has no guards. One transaction for all rows."),
)

GROUPS: Final = {"reads": READS, "changes": CHANGES}
OPERATIONS: Final = (*READS, *CHANGES)


@pytest.fixture(scope="module", autouse=True)
def written(cost_book: CostBook, writes_costs: bool) -> Iterator[None]:
    """Write what was counted, once everything is, where that is asked for."""
    yield
    if writes_costs:
        cost_book.write({one.name: one.why for one in OPERATIONS})


@pytest.fixture
def keystore_database(own_keystore: str) -> str:
    """A keystore of this test's own: the first time, keys are made that others may have made in the run's."""
    return own_keystore


@pytest.mark.parametrize("group", GROUPS)
async def test_operations_cost_what_the_file_says(
    meter: Meter, world: World, template: Template, group: str, cost_book: CostBook, writes_costs: bool
) -> None:
    ground = await lay_ground(world, drafts=2 * RUNS, submitted=3 * RUNS)

    found = {one.name: await _cost_of(one, ground, meter, template) for one in GROUPS[group]}

    cost_book.counted.update(found)
    expected = {name: cost_book.expected.get(name) for name in found}
    assert writes_costs or found == expected, "the difference is below; `make costs` writes what was counted"


def test_the_file_holds_these_operations_and_no_others(cost_book: CostBook, writes_costs: bool) -> None:
    assert writes_costs or list(cost_book.expected) == [one.name for one in OPERATIONS]
    assert len({one.name for one in OPERATIONS}) == len(OPERATIONS)


@pytest.mark.parametrize("more", ["", ", with what is sealed"])
def test_a_page_of_100_costs_what_a_page_of_1_does(cost_book: CostBook, more: str) -> None:
    costs = {**cost_book.expected, **cost_book.counted}

    assert costs[f"a page of 1 record{more}"] == costs[f"a page of 100 records{more}"]


async def _cost_of(operation: Operation, ground: Ground, meter: Meter, template: Template) -> Cost:
    async with fresh_process(ground.world, template) as fresh:
        try:
            ask = await operation.begin(replace(ground, fresh=fresh))
            counts = [await meter.count(ask, run) for run in range(RUNS)]
        except Exception as error:
            error.add_note(f"While counting: {operation.name}")
            raise
    statements, decisions = [one[0] for one in counts], {one[1] for one in counts}
    assert statements[1] == statements[2], f"{operation.name}: the second time costs what the third does"
    assert len(decisions) == 1, f"{operation.name}: as many decisions each time"
    return Cost(statements[0], statements[1], decisions.pop())
