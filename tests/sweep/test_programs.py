"""Every query and every mutation of the schema, run by programs: none breaks, and none does what is people's business.

The fields come from the schema, so one added tomorrow is tried without anyone remembering.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    get_named_type,
    is_leaf_type,
    is_required_argument,
    is_required_input_field,
)

from auth.permission import Permission as P
from auth.role import SERVICE_ACCOUNT_LEVEL
from schema.api import Api, build_api
from tests.api.test_mutation_audit import CASES, prepared
from tests.support.access import (
    Program,
    behind_the_triggers,
    codes,
    content,
    give_in_organization,
    in_organization,
    make_program,
    until_waiting,
)
from tests.support.export import with_export
from tests.support.incident import an_incident
from tests.support.mutation import (
    Stage,
    mutate,
    prepare,
    prepare_with_incident,
    with_erasure,
    with_hold,
    with_import,
    with_invitation,
    with_review,
)
from tests.support.world import World, connect

LOOKS = frozenset({P.PROJECT_READ, P.RECORD_READ})
DEPTH = 3
ASKED = {"measurementGroups": "by: [UNIT]"}
"""What an operation has to say although the schema does not demand it: values of different units make no mean."""
PAST = {"PastRecord": "Record"}
"""Types of what was, by those of what is."""
LATER = '"2999-01-01T00:00:00Z"'
"""A moment when all there is was there."""
BY_PROGRAMS = {
    *("createRecord", "updateRecord", "submitRecord", "deleteRecord"),
    *("createSite", "updateSite", "deleteSite"),
    "registerTrustedDocuments",
    *("createImport", "startImport", "cancelImport"),
    *("createImportMapping", "updateImportMapping", "deleteImportMapping"),
    *("createExport", "cancelExport", "deleteExport"),
}
KINDS = ("all that programs may", "a little of one project", "a creator who is nobody any more")


async def _program(world: World, kind: str) -> Program:
    if kind == KINDS[0]:
        return await make_program(world, SERVICE_ACCOUNT_LEVEL)
    if kind == KINDS[1]:
        return await make_program(world, LOOKS, ["CANAL"])
    await give_in_organization(world, "member", role="OWNER")
    made = await make_program(world, SERVICE_ACCOUNT_LEVEL, by="member")
    gone = await in_organization(world, "member")
    assert await codes(await world.client("owner"), "removeOrganizationRole", gone) == []
    return made


async def _with_more(world: World, stage: Stage) -> Stage:
    """Return the stage with what takes more to be there."""
    stage = await with_review(world, await with_invitation(world, stage))
    stage = await with_erasure(world, await with_export(world, await with_import(world, stage)))
    return await with_hold(world, stage, stage.submitted)


async def _ids(world: World, program: Program, stage: Stage) -> dict[str, str]:
    """Return the global id of one object of each type."""
    tenant = await world.organization_id("clearwater")
    entry = await world.value("select id from audit_entry where organization_id = $1 limit 1", tenant)
    grant = await world.value("select id from project_membership where organization_id = $1 limit 1", tenant)
    record = await world.value("select record_id from measurement where organization_id = $1 limit 1", tenant)
    measurement = await world.value("select id from measurement where record_id = $1 limit 1", record)
    incident = await an_incident(world)
    await mutate(await world.client("admin"), "registerTrustedDocuments", CASES["registerTrustedDocuments"][1](stage))
    document = await world.value("select id from trusted_document limit 1")
    evidence = await world.value("select id from incident_evidence where incident_id = $1 limit 1", incident)
    return {
        "Organization": f"Organization:{tenant}",
        "Project": stage.project,
        "Record": f"Record:{record}",
        "Measurement": f"Measurement:{measurement}",
        "Site": stage.site,
        "Device": stage.device,
        "User": stage.person,
        "ProjectMember": f"ProjectMember:{grant}",
        "CustomRole": stage.role,
        "ServiceAccount": program.id,
        "AuditEntry": f"AuditEntry:{entry}",
        "Incident": f"Incident:{incident}",
        "IncidentEvidence": f"IncidentEvidence:{evidence}",
        "Invitation": stage.invitation,
        "TrustedDocument": f"TrustedDocument:{document}",
        "AccessReview": stage.review,
        "AccessReviewItem": stage.review_item,
        "DataImport": stage.data_import,
        "ImportMapping": stage.import_mapping,
        "Export": stage.export,
        "ErasureRequest": stage.erasure,
    }


def _selection(api: Api, kind: Any, depth: int) -> str:
    """Return all that can be selected of a type without arguments, so deep."""
    named = get_named_type(kind)
    if is_leaf_type(named):
        return ""
    if isinstance(named, GraphQLInterfaceType):
        return " { __typename id }"
    assert isinstance(named, GraphQLObjectType)
    fields = [
        name + (" " if is_leaf_type(get_named_type(field.type)) else _selection(api, field.type, depth - 1))
        for name, field in named.fields.items()
        if (is_leaf_type(get_named_type(field.type)) or depth > 0)
        and not any(is_required_argument(argument) for argument in field.args.values())
    ]
    return " { __typename " + " ".join(fields) + " }"


def _queries(api: Api, ids: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield each query field, in an operation that asks it for all of it."""
    assert api._schema.query_type is not None
    for name, field in api._schema.query_type.fields.items():
        shown = get_named_type(field.type)
        if name == "node":
            for type_name, an_id in ids.items():
                fragment = f"... on {type_name}{_selection(api, api._schema.type_map[type_name], DEPTH)}"
                yield name, f'{{ node(id: "{an_id}") {{ __typename {fragment} }} }}'
        else:
            # What was is asked for by the ids of what is.
            kind = PAST.get(shown.name, shown.name)
            arguments = _arguments(name, field, ids.get(kind, ids["Project"]))
            yield name, f"{{ {name}{arguments}{_selection(api, field.type, DEPTH)} }}"


def _arguments(name: str, field: GraphQLField, an_id: str) -> str:
    needed = [(key, one) for key, one in field.args.items() if is_required_argument(one)]
    given = [f"{key}: {_value(one.type, an_id)}" for key, one in needed] + ["first: 2"] * ("first" in field.args)
    given += [ASKED[name]] if name in ASKED else []
    return f"({', '.join(given)})" if given else ""


def _value(kind: Any, an_id: str) -> str:
    """Return a literal of an input type."""
    if isinstance(kind, GraphQLNonNull):
        return _value(kind.of_type, an_id)
    if isinstance(kind, GraphQLList):
        return f"[{_value(kind.of_type, an_id)}]"
    if isinstance(kind, GraphQLEnumType):
        return str(next(iter(kind.values)))
    if isinstance(kind, GraphQLInputObjectType):
        needed = [(key, one) for key, one in kind.fields.items() if is_required_input_field(one)]
        return "{" + ", ".join(f"{key}: {_value(one.type, an_id)}" for key, one in needed) + "}"
    leaves = {"ID": f'"{an_id}"', "Int": "1", "Float": "1.0", "Boolean": "true", "DateTime": LATER}
    return leaves.get(kind.name, '"x"')


@pytest.mark.parametrize("kind", KINDS)
async def test_no_query_breaks_for_a_program(world: World, api: Api, kind: str) -> None:
    stage = await _with_more(world, await prepare(world))
    program = await _program(world, kind)
    answered: dict[str, Any] = {}

    for name, query in _queries(api, await _ids(world, program, stage)):
        answer = await program.client.run(query)
        # An id that is not of a person or program is said to be none.
        assert set(answer.codes) <= {"FORBIDDEN", "INVALID_INPUT"}, (query, answer.errors)
        answered[name] = answered.get(name) or answer.body["data"][name]

    assert api._schema.query_type is not None
    assert set(answered) == set(api._schema.query_type.fields)
    assert answered["viewer"]
    if kind == KINDS[0]:
        assert answered["record"]["measurements"]
        assert answered["recordAsOf"]["measurements"]
        assert answered["auditEntries"]["nodes"]
        assert answered["serviceAccount"]["name"] == "Pull"
        assert answered["users"]["nodes"]


@pytest.mark.parametrize("kind", KINDS)
async def test_no_mutation_breaks_for_a_program_and_none_is_done_beyond_its_scope(world: World, kind: str) -> None:
    stage = await _with_more(world, await prepare_with_incident(world))
    stage = replace(stage, suspended=stage.person)
    program = await _program(world, kind)
    before = await content(world)

    for name, (_, given, action, _, _) in CASES.items():
        if kind == KINDS[0] and name in BY_PROGRAMS:
            continue
        since = await world.now()
        answer = await mutate(program.client, name, given(stage))
        errors = [error["code"] for error in answer.data[name]["errors"]]
        assert errors in (["FORBIDDEN"], ["NOT_FOUND"]), name
        [entry] = await world.entries(since=since)
        assert (entry["kind"], entry["action"], entry["outcome"]) == ("ATTEMPT", action, "DENIED")
        _require_of_program(entry, program)
    assert await content(world) == before


@pytest.mark.parametrize("name", sorted(BY_PROGRAMS))
async def test_what_a_program_does_leaves_one_entry_that_names_it(world: World, name: str) -> None:
    _, given, action, _, _ = CASES[name]
    stage = await prepared(world, name)
    program = await _program(world, KINDS[0])
    since = await world.now()

    answer = await mutate(program.client, name, given(stage))

    # A record that a person drafted is handed over by whoever may change any.
    assert answer.data[name]["errors"] == []
    [entry] = await world.entries(since=since)
    assert (entry["kind"], entry["action"], entry["outcome"]) == ("CHANGE", action, "DONE")
    _require_of_program(entry, program)


def _require_of_program(entry: Any, program: Program) -> None:
    assert (entry["user_id"], entry["membership_id"], entry["session_id"]) == (None, None, None)
    assert f"ServiceAccount:{entry['service_account_id']}" == program.id
    assert entry["ip_address"] is not None


def test_what_programs_do_are_mutations_of_the_schema() -> None:
    core = build_api()._schema
    assert core.mutation_type is not None
    assert set(core.mutation_type.fields) >= BY_PROGRAMS


async def test_the_trail_names_the_program_that_brought_a_record(world: World) -> None:
    program = await make_program(world, LOOKS | {P.RECORD_CREATE}, ["CANAL"])
    given = {
        "projectId": str(await world.project_id("CANAL")),
        "siteCode": "W-1",
        "collectedAt": "2026-01-02T03:04:05Z",
        "medium": "WATER",
    }
    shown = "record { id status version createdBy { id } }"

    payload = (await mutate(program.client, "createRecord", given, shown)).data["createRecord"]

    assert payload["errors"] == []
    record = payload["record"]
    assert (record["status"], record["createdBy"]) == ("DRAFT", None)
    trail = await (await world.client("auditor")).run(
        '{ auditEntries(first: 1, filter: {action: {eq: "record.create"}}) { nodes {'
        " kind outcome user { name } serviceAccount { id name } changes { operation entity entityId } } } }"
    )
    assert trail.data["auditEntries"]["nodes"] == [
        {
            "kind": "CHANGE",
            "outcome": "DONE",
            "user": None,
            "serviceAccount": {"id": program.id, "name": "Pull"},
            "changes": [{"operation": "INSERT", "entity": "record", "entityId": record["id"].removeprefix("Record:")}],
        }
    ]
    stored = (await world.sql("select * from record where id = $1", UUID(record["id"].removeprefix("Record:"))))[0]
    maker = await world.value("select created_by_id from service_account where id = $1", UUID(program.id[15:]))
    assert set(stored["contributor_ids"]) == {UUID(program.id.removeprefix("ServiceAccount:")), maker}


async def test_a_program_is_no_second_pair_of_eyes(world: World) -> None:
    """Who made a program does not review what it brought; somebody else does."""
    admin, reviewer = await world.client("admin"), await world.client("reviewer")
    program = await make_program(
        world, LOOKS | {P.RECORD_CREATE, P.RECORD_UPDATE, P.RECORD_SUBMIT}, ["CANAL"], by="admin"
    )
    given = {
        "projectId": str(await world.project_id("CANAL")),
        "siteCode": "W-1",
        "collectedAt": "2026-01-02T03:04:05Z",
        "medium": "WATER",
    }
    created = await mutate(program.client, "createRecord", given, "record { id }")
    record = created.data["createRecord"]["record"]["id"]
    assert await codes(program.client, "submitRecord", {"id": record, "expectedVersion": 1}) == []

    for name in ("approveRecord", "rejectRecord"):
        assert await codes(admin, name, {"id": record, "expectedVersion": 2}) == ["FORBIDDEN"]
    assert await codes(reviewer, "approveRecord", {"id": record, "expectedVersion": 2}) == []


async def test_a_program_revoked_while_its_operation_runs_does_nothing_more(world: World) -> None:
    program = await make_program(world, LOOKS | {P.RECORD_CREATE, P.RECORD_UPDATE}, ["CANAL"])
    stage = await prepare(world)
    query = """
      mutation($u: UpdateRecordInput!, $c: CreateRecordInput!) {
        updateRecord(input: $u) { errors { code } }
        createRecord(input: $c) { errors { code } }
      }"""
    given = {
        "u": {"id": stage.draft, "expectedVersion": 1, "siteName": "New"},
        "c": {"projectId": stage.project, "siteCode": "W", "collectedAt": "2026-01-02T03:04:05Z", "medium": "WATER"},
    }
    records = await world.value("select count(*) from record")
    connection = await connect(world.superuser)
    try:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("select 1 from record where id = $1 for update", stage.draft.removeprefix("Record:"))
        running = asyncio.create_task(program.client.run(query, given))
        await until_waiting(world, 1)
        await behind_the_triggers(world, "service_account", "revoked_at = now()", "name = 'Pull'")
        await transaction.rollback()
    finally:
        await connection.close()

    answer = await running
    assert answer.body["data"] == {"updateRecord": {"errors": []}, "createRecord": None}
    assert answer.codes == ["UNAUTHENTICATED"]
    assert await world.value("select count(*) from record") == records
