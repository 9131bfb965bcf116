"""What of the schema each viewer is shown, and that what they are shown is what they reach."""

from collections.abc import Iterator
from typing import Any

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLObjectType,
    GraphQLSchema,
    build_client_schema,
    execute_sync,
    get_introspection_query,
    get_named_type,
    is_leaf_type,
    is_required_argument,
    parse,
    validate_schema,
)

from schema.api import Api
from schema.introspection import SchemaExecutor, fields_of
from tests.support.mutation import OPEN_TO_ALL, mutate, prepare, prepare_with_incident
from tests.support.world import Client, World

FULL = get_introspection_query(specified_by_url=True, schema_description=True, input_value_deprecation=True)
_REFERENCE = "kind name __typename ofType { " * 5 + "kind" + " }" * 5
_ALL = f"""
fragment All on __Schema {{
  __typename description
  queryType {{ {_REFERENCE} }} mutationType {{ {_REFERENCE} }} subscriptionType {{ {_REFERENCE} }}
  types {{
    __typename kind name description specifiedByURL isOneOf ofType {{ kind }}
    fields(includeDeprecated: true) {{
      __typename name description isDeprecated deprecationReason
      type {{ {_REFERENCE} }} args(includeDeprecated: true) {{ ...Input }}
    }}
    inputFields(includeDeprecated: true) {{ ...Input }}
    interfaces {{ {_REFERENCE} }} possibleTypes {{ {_REFERENCE} }}
    enumValues(includeDeprecated: true) {{ __typename name description isDeprecated deprecationReason }}
  }}
  directives {{
    __typename name description isRepeatable locations isDeprecated deprecationReason
    args(includeDeprecated: true) {{ ...Input }}
  }}
}}
fragment Input on __InputValue {{
  __typename name description defaultValue isDeprecated deprecationReason type {{ {_REFERENCE} }}
}}
"""
EVERYTHING = "{ __schema { ...All } }" + _ALL
"""All that there is to ask of a schema, once, and the name of each object's type, which some clients add."""
NOBODY = "nobody"
WIDEST = 100
"""Words of a selection; a longer one is asked for in parts."""
EVERYONE = (NOBODY, "member", "viewer", "collector", "manager", "auditor", "admin", "owner")


async def client_of(world: World, who: str) -> Client:
    """Return the client of a person of the demo, or of nobody."""
    return world.anonymous if who == NOBODY else await world.client(who)


async def shown_to(world: World, who: str) -> GraphQLSchema:
    """Return the schema as a tool would build it that the person uses."""
    answer = await (await client_of(world, who)).run(FULL)
    return build_client_schema(answer.data)


def names_of(schema: GraphQLSchema) -> set[str]:
    """Return the names of all that the schema tells of: types, fields, arguments, values."""
    found = set(schema.type_map)
    for one in schema.type_map.values():
        for name, part in {**getattr(one, "fields", {}), **getattr(one, "values", {})}.items():
            found.add(f"{one.name}.{name}")
            found.update(f"{one.name}.{name}({argument}:)" for argument in getattr(part, "args", ()))
    return found


def fields_in(data: Any) -> int:
    """Return how many fields an answer has."""
    if isinstance(data, dict):
        return len(data) + sum(map(fields_in, data.values()))
    return sum(map(fields_in, data)) if isinstance(data, list) else 0


def _parts(schema: GraphQLSchema, parent: GraphQLObjectType, above: tuple[str, ...]) -> Iterator[str]:
    """Yield all that can be asked for without an argument, each type once on each way, in selections of a size that no
    operation with one of them grows out of the limits with the schema.
    """
    gathered: list[str] = []
    for one in _selections(schema, parent, above):
        words = one.split()
        if gathered and len(gathered) + len(words) > WIDEST:
            yield " ".join(gathered)
            gathered = []
        gathered += words
    if gathered:
        yield " ".join(gathered)


ALWAYS = {
    "measurementSeries": ', characteristic: "pH", start: "2020-01-01T00:00:00Z", end: "2021-01-01T00:00:00Z"',
}
"""What a root is not asked without."""
LEAD_BACK = {"RecordVersion", "AccessReviewItem", "Invitation", "ServiceAccountToken", "Session"}
"""Types whose links are to what the roots show, and have more below them than an operation may ask for."""


def _selections(schema: GraphQLSchema, parent: GraphQLObjectType, above: tuple[str, ...]) -> Iterator[str]:
    """Yield the selections of each field: one of a leaf, and as many of an object as its parts are."""
    for name, field in parent.fields.items():
        target = get_named_type(field.type)
        if any(is_required_argument(one) for one in field.args.values()) or target.name in above:
            continue
        if name in {"history", "sessions"} and len(above) > 2:
            # Asked for of the records and the people at the root: further below it would be too deep.
            continue
        if is_leaf_type(target):
            yield name
        elif parent.name in LEAD_BACK and "id" in getattr(target, "fields", ()):
            # All ways on from there were gone from the record, or are from the people and projects at the root.
            yield f"{name} {{ id }}"
        elif isinstance(target, GraphQLObjectType):
            for inner in _parts(schema, target, (*above, target.name)):
                yield f"{name}{_given(name, field)} {{ {inner} }}"


def _given(name: str, field: GraphQLField) -> str:
    # Numbers are not computed across units.
    return "(by: UNIT)" if name == "measurementGroups" else "(first: 2)" if "first" in field.args else ""


@pytest.mark.parametrize("who", EVERYONE)
async def test_what_each_is_shown_is_a_schema_and_a_part_of_the_whole(world: World, api: Api, who: str) -> None:
    shown = await shown_to(world, who)

    assert validate_schema(shown) == []
    assert names_of(shown) <= names_of(api._schema)
    assert {one.name for one in shown.directives} == {one.name for one in api._schema.directives}


async def test_an_owner_is_shown_the_whole_executable_schema(world: World, api: Api) -> None:
    answer = await (await world.client("owner")).run(FULL)

    assert answer.data == execute_sync(api._schema, parse(FULL)).data


@pytest.mark.parametrize(
    ("who", "there", "missing"),
    [
        (
            NOBODY,
            {"Query.viewer", "Mutation.signIn", "Mutation.refreshSession", "SignInInput.password", "ErrorCode"},
            {"Viewer.user", "Mutation.signOut", "Query.records", "Record", "User", "Node", "Permission", "ProjectRole"},
        ),
        (
            "member",
            {"Query.devices", "Query.organization", "User.email", "Device.serialNumber", "ProjectMember.role"},
            {"Project", "Record", "Query.projects", "ProjectMember.project", "AuditEntry", "RecordStatus"},
        ),
        (
            "viewer",
            {"Query.records", "Record.siteCode", "Record.collector", "RecordFilter.siteCode", "Mutation.signOut"},
            {
                "Record.comment",
                "Measurement.sourceRow",
                "RecordFilter.createdById",
                "Query.auditEntries",
                "Query.auditEntries(filter:)",
                "AuditEntryFilter",
                "AuditOutcome.DENIED",
                "Mutation.createRecord",
                "CreateRecordInput",
                "MeasurementInput",
                "RecordPayload",
            },
        ),
        (
            "collector",
            {"Record.comment", "Mutation.createRecord", "Mutation.updateRecord", "MeasurementInput.unit"},
            {"Mutation.approveRecord", "RecordReasonInput", "Mutation.assignProjectRole", "AuditEntry"},
        ),
        (
            "admin",
            {"AuditEntry.action", "AuditEntryFilter.userId", "Mutation.createProject", "RecordFilter.createdById"},
            {"AuditEntry.ipAddress", "AuditEntry.userAgent", "AuditEntry.reason"},
        ),
        (
            "auditor",
            {"AuditEntry.ipAddress", "Change.columns", "Record.comment", "User.email", "RecordFilter.createdById"},
            {"Mutation.createRecord", "Mutation.blockDevice", "CreateProjectInput", "UserPayload"},
        ),
    ],
)
async def test_each_is_shown_what_their_roles_reach(world: World, who: str, there: set[str], missing: set[str]) -> None:
    names = names_of(await shown_to(world, who))

    assert there <= names
    assert not missing & names


@pytest.mark.parametrize("who", ["viewer", "member", "auditor", "owner"])
async def test_all_that_is_shown_is_reached_and_what_is_not_is_denied(world: World, api: Api, who: str) -> None:
    await prepare_with_incident(world)
    client, shown = await world.client(who), await shown_to(world, who)
    assert shown.query_type is not None
    assert api._schema.query_type is not None

    reached = dict(_roots(shown, shown.query_type))
    for root, seen in reached.items():
        answer = await client.run(f"{{ {root} }}")
        assert answer.errors == [], root
        assert seen in answer.body["data"]

    denied = set()
    for root, _ in _roots(api._schema, api._schema.query_type):
        if root in reached:
            continue
        answer = await client.run(f"{{ {root} }}")
        assert set(answer.codes) <= {"FORBIDDEN"}, root
        denied |= {error["path"][-1] for error in answer.errors}
    hidden = {name.partition(".")[2] for name in names_of(api._schema) - names_of(shown)}
    assert denied <= hidden
    assert denied == {
        "viewer": {
            *("exactLocation", "comment", "sourceRow", "reviewer", "reviewReason", "reason"),
            *("dataInventory", "auditTrail", "retention"),
        },
        "member": {"dataInventory", "auditTrail", "retention"},
    }.get(who, set())


@pytest.mark.parametrize("who", ["viewer", "owner"])
async def test_each_filter_and_order_that_is_shown_is_taken(world: World, who: str) -> None:
    client, shown = await world.client(who), await shown_to(world, who)
    assert shown.query_type is not None
    tried = 0

    for name, field in shown.query_type.fields.items():
        for argument in ("filter", "orderBy"):
            given = get_named_type(field.args[argument].type) if argument in field.args else None
            if not isinstance(given, GraphQLInputObjectType):
                continue
            for value in _values(given):
                size = ", first: 1" if "first" in field.args else ALWAYS.get(name, "")
                answer = await client.run(f"{{ {name}({argument}: {value}{size}) {{ __typename }} }}")
                assert answer.errors == [], (name, value)
                tried += 1

    assert tried > 20
    answer = await client.run("{ records(filter: {createdById: {eq: null}}) { totalCount } }")
    assert answer.codes == (["FORBIDDEN"] if who == "viewer" else [])


async def test_the_mutations_that_are_shown_are_those_that_are_not_refused_for_want_of_a_permission(
    world: World, api: Api
) -> None:
    stage = await prepare(world)
    given: dict[str, dict[str, Any]] = {
        "submitRecord": {"id": stage.draft, "expectedVersion": 99},
        "approveRecord": {"id": stage.submitted, "expectedVersion": 99},
        "deleteRecord": {"id": stage.draft, "expectedVersion": 99, "reason": "A test."},
        "archiveProject": {"id": stage.project, "expectedVersion": 99, "reason": "A test."},
        "createProject": {"code": "", "name": ""},
        "assignProjectRole": {
            "userId": stage.viewer,
            "projectId": stage.project,
            "role": "VIEWER",
            "reason": "A test.",
        },
    }
    for who in ("viewer", "collector", "reviewer", "manager", "admin"):
        client, names = await world.client(who), names_of(await shown_to(world, who))
        for name, arguments in given.items():
            payload = (await mutate(client, name, arguments)).data[name]
            refused = [error["code"] for error in payload["errors"]] == ["FORBIDDEN"]
            assert refused == (f"Mutation.{name}" not in names), (who, name, payload)


DEEP = """
query Deep($name: String!) {
  __type(name: $name) {
    name kind
    possibleTypes { name }
    interfaces { name possibleTypes { name } }
    fields(includeDeprecated: true) { name type { ...T } args(includeDeprecated: true) { name type { ...T } } }
    inputFields(includeDeprecated: true) { name type { ...T } }
    enumValues(includeDeprecated: true) { name }
  }
}
fragment T on __Type {
  name enumValues(includeDeprecated: true) { name } possibleTypes { name }
  ofType { name possibleTypes { name } ofType { name ofType { name } } }
}
"""


@pytest.mark.parametrize("who", [NOBODY, "member", "viewer"])
async def test_nothing_hidden_is_told_on_a_way_round(world: World, api: Api, who: str) -> None:
    client, shown = await client_of(world, who), await shown_to(world, who)
    types = set(api._schema.type_map)
    hidden = types - set(shown.type_map)
    assert hidden

    for name in sorted(types):
        answer = await client.run(DEEP, {"name": name})
        found = answer.data["__type"]
        assert (found is None) == (name in hidden), name
        assert not hidden & set(_words(found))


async def test_a_hidden_name_is_answered_as_one_that_never_was(world: World) -> None:
    viewer = await world.client("viewer")

    answers = [await viewer.run(DEEP, {"name": name}) for name in ("AuditEntry", "NoSuchType", "", "__Nothing")]

    assert {answer.text for answer in answers} == {'{"data":{"__type":null}}'}


async def test_an_operation_that_asks_for_the_schema_too_is_answered_all_of_it(world: World) -> None:
    query = """
    query Both($name: String!, $with: Boolean!) {
      viewer { role __typename }
      a: __schema { ...S }
      ... on Query { b: __type(name: $name) { fields { name } } hidden: __type(name: "AuditEntry") { name } }
      projects { nodes { __typename code } }
      c: __schema @include(if: $with) { types { name } }
      node(id: "AuditEntry:018f0000-0000-7000-8000-000000000000") { id }
    }
    fragment S on __Schema { queryType { fields { name } } types { n: name } }
    """
    viewer = await world.client("viewer")

    answer = await viewer.run(query, {"name": "Record", "with": False})

    data = answer.data
    assert data["viewer"] == {"role": "MEMBER", "__typename": "Viewer"}
    assert [one["__typename"] for one in data["projects"]["nodes"]] == ["Project"]
    assert "siteCode" in {one["name"] for one in data["b"]["fields"]}
    assert "comment" not in {one["name"] for one in data["b"]["fields"]}
    assert data["hidden"] is None
    assert data["node"] is None
    assert "c" not in data
    assert "AuditEntry" not in {one["n"] for one in data["a"]["types"]}
    assert "auditEntries" not in {one["name"] for one in data["a"]["queryType"]["fields"]}


async def test_what_is_hidden_stays_valid_and_is_answered_as_ever(world: World) -> None:
    viewer = await world.client("viewer")

    answer = await viewer.run("{ auditEntries { nodes { ipAddress } } records(first: 1) { nodes { comment } } }")

    assert answer.body["data"] == {"auditEntries": {"nodes": []}, "records": {"nodes": [{"comment": None}]}}
    assert answer.codes == ["FORBIDDEN"]


async def test_nobody_asks_for_the_schema_and_is_still_refused_the_rest(world: World) -> None:
    answer = await world.anonymous.run("{ __schema { mutationType { fields { name } } } projects { nodes { id } } }")

    assert answer.codes == ["UNAUTHENTICATED"]
    shown = answer.body["data"]["__schema"]["mutationType"]["fields"]
    assert {one["name"] for one in shown} == OPEN_TO_ALL
    assert answer.body["data"]["projects"] is None


@pytest.mark.parametrize("query", ["{ __schema { types { name } } projects { nodes { id } } }", FULL])
async def test_whose_token_is_refused_is_not_shown_what_anyone_is_as_if_it_were_theirs(
    world: World, query: str
) -> None:
    answer = await Client(world.http, "no.token.ofours").run(query)

    assert answer.body["data"] is None
    assert set(answer.codes) == {"UNAUTHENTICATED"}


async def test_a_part_is_made_once_for_all_who_reach_the_same(world: World) -> None:
    made: Any = world.api._schema.extensions["visible"]
    made.cache_clear()

    for who in (*EVERYONE, "other-owner", "reviewer", NOBODY):
        client = await client_of(world, who)
        for query in (
            "{ __schema { types { name } } }",
            '{ a: __type(name: "Record") { name } __schema { types { name } } }',
        ):
            assert (await client.run(query)).errors == []

    # The other owner reaches what the owner does; a reviewer is the one who was not among the eight.
    assert made.cache_info().misses == len(EVERYONE) + 1
    assert made.cache_info().currsize == len(EVERYONE) + 1


async def test_a_role_that_is_given_is_shown_at_the_next_request(world: World) -> None:
    manager, member = await world.client("manager"), await world.client("member")
    assert (await member.run('{ __type(name: "Record") { name } }')).data == {"__type": None}

    given = {
        "userId": f"User:{await world.member_id('member')}",
        "projectId": f"Project:{await world.project_id('CANAL')}",
        "role": "VIEWER",
        "reason": "Joined the project.",
    }
    assert (await mutate(manager, "assignProjectRole", given)).data["assignProjectRole"]["errors"] == []

    assert (await member.run('{ __type(name: "Record") { name } }')).data == {"__type": {"name": "Record"}}


@pytest.mark.parametrize("who", [NOBODY, "member", "owner"])
async def test_an_answer_about_the_schema_has_an_end(world: World, who: str) -> None:
    client = await client_of(world, who)
    wide = " ".join(f"a{i}: args {{ name description type {{ kind }} }}" for i in range(80))
    query = f"{{ viewer {{ role }} __schema {{ types {{ fields {{ {wide} }} }} }} }}"

    answer = await client.run(query)

    assert answer.codes == ["TOO_COMPLEX"]
    most = _most(await shown_to(world, who))
    assert f" {most} fields" in answer.errors[0]["message"]
    assert answer.errors[0]["extensions"]["limit"] == {"of": "fields of the schema", "allowed": most}
    assert answer.body.get("data") is None
    assert len(answer.text) < 500


@pytest.mark.parametrize("who", [NOBODY, "owner"])
async def test_all_of_the_schema_twice_is_too_much(world: World, who: str) -> None:
    client = await client_of(world, who)

    answer = await client.run("{ first: __schema { ...All } second: __schema { ...All } }" + _ALL)

    assert answer.codes == ["TOO_COMPLEX"]
    assert answer.body.get("data") is None


_SHOW = "types { name description fields { name description args { name description } } }"
TWENTY = "{ " + " ".join(f"a{i}: __schema {{ {_SHOW} }}" for i in range(20)) + " }"
COUNTED: dict[str, tuple[str, dict[str, Any]]] = {
    "all": (EVERYTHING, {}),
    "what tools ask": (FULL, {}),
    "a type by its name, and one that there is not": (
        'query($n: String!) { a: __type(name: $n) { fields { name type { name } } } b: __type(name: "No") { name } }',
        {"n": "Query"},
    ),
    "what variables leave out": (
        "query($n: Boolean!) { __schema { types { name fields @include(if: $n) { name } } } }",
        {"n": False},
    ),
    "what variables leave": (
        "query($n: Boolean!) { __schema { types { name fields @include(if: $n) { name } } } }",
        {"n": True},
    ),
    "deprecated or not, by a variable": (
        "query($d: Boolean = true) { __schema { types { fields(includeDeprecated: $d) { name } } } }",
        {"d": False},
    ),
    "what is merged": (
        "{ __schema { types { name } ...S ...S ... on __Schema { types { kind name } } } viewer { role } }"
        " fragment S on __Schema { types { name fields { name } __typename } }",
        {},
    ),
    "what is wrapped": ("{ __schema { queryType { fields { type { ofType { ofType { kind } } } } } } }", {}),
    "interfaces and who implements them": (
        "{ __schema { types { possibleTypes { name } interfaces { possibleTypes { name } } } } }",
        {},
    ),
    "none of it": ("{ viewer { role } } # __schema", {}),
}


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collects the names of the introspection fields that are run, each as often as it is."""
    found: list[str] = []
    told = SchemaExecutor.build_resolve_info

    def told_and_noted(self: Any, field_def: Any, field_nodes: Any, parent_type: Any, path: Any) -> Any:
        name = field_nodes[0].name.value
        if parent_type.name.startswith("__") or name in {"__schema", "__type"}:
            found.append(name)
        return told(self, field_def, field_nodes, parent_type, path)

    monkeypatch.setattr(SchemaExecutor, "build_resolve_info", told_and_noted)
    return found


@pytest.mark.parametrize("who", ["member", "owner"])
@pytest.mark.parametrize("name", COUNTED)
async def test_what_is_shown_of_the_schema_costs_as_many_as_its_fields(
    world: World, resolved: list[str], name: str, who: str
) -> None:
    query, variables = COUNTED[name]

    answer = await (await world.client(who)).run(query, variables, extensions={"cost": True})

    assert answer.errors == []
    assert answer.body["extensions"]["cost"]["requested"] == max(1, len(resolved))


@pytest.mark.parametrize("who", [NOBODY, "member", "owner"])
@pytest.mark.parametrize(
    "query",
    [
        TWENTY,
        "{ viewer { role } ...A ...B } fragment A on Query { a: __schema { ...All } }"
        " fragment B on Query { b: __schema { ...All } }" + _ALL,
    ],
)
async def test_too_much_of_the_schema_is_refused_before_any_of_it_is_run(
    world: World, resolved: list[str], who: str, query: str
) -> None:
    answer = await (await client_of(world, who)).run(query)

    assert answer.codes == ["TOO_COMPLEX"]
    assert resolved == []


async def test_data_is_paid_for_with_what_is_shown_of_the_schema(world: World) -> None:
    client = await world.client("owner")
    shown = "__schema { queryType { name } }"

    answers = [
        await client.run(f"{{ {asked} }}", extensions={"cost": True})
        for asked in (shown, f"{shown} records(first: 30) {{ nodes {{ id }} }}")
    ]

    assert [one.body["extensions"]["cost"]["requested"] for one in answers] == [3, 33]


@pytest.mark.parametrize("who", [NOBODY, "owner"])
@pytest.mark.parametrize(
    ("inner", "code"),
    [
        ("types { fields { type { fields { type { fields { name } } } } } }", "INVALID_INPUT"),
        ("types { " + "ofType { " * 14 + "name" + " }" * 14 + " }", "TOO_COMPLEX"),
        ("types { " + " ".join(f"a{i}: name" for i in range(101)) + " }", "TOO_COMPLEX"),
    ],
)
async def test_a_question_about_the_schema_has_the_limits_of_any(world: World, who: str, inner: str, code: str) -> None:
    answer = await (await client_of(world, who)).run(f"{{ __schema {{ {inner} }} }}")

    assert set(answer.codes) == {code}
    assert answer.body.get("data") is None


@pytest.mark.parametrize("who", [NOBODY, "member", "viewer", "owner"])
async def test_each_is_answered_all_that_a_tool_can_ask_and_an_eighth_more(world: World, who: str) -> None:
    client, part = await client_of(world, who), await shown_to(world, who)

    answer = await client.run(EVERYTHING)

    assert answer.errors == []
    assert fields_in(answer.data) == fields_of(part)
    assert fields_in((await client.run(FULL)).data) < fields_of(part) < _most(part)


@pytest.mark.parametrize(
    "query",
    [
        "{ recrods { nodes { id } } }",
        "{ viewer { rol } }",
        "{ __schem { types { name } } }",
        "{ __schema { typs { name } } }",
        '{ __type(nam: "Record") { name } }',
        "fragment F on Recrod { id } { viewer { role } }",
        'mutation { signIn(input: {emial: "a@b.example"}) { accessToken } }',
        "{ users(orderBy: {field: ROL}) { totalCount } }",
    ],
)
@pytest.mark.parametrize("who", [NOBODY, "owner"])
async def test_no_message_suggests_a_name(world: World, who: str, query: str) -> None:
    answer = await (await client_of(world, who)).run(query)

    assert set(answer.codes) == {"INVALID_INPUT"}
    assert "Did you mean" not in answer.text


def _roots(schema: GraphQLSchema, query: GraphQLObjectType) -> Iterator[tuple[str, str]]:
    """Yield each root with selections that together are all that can be had of it."""
    for name, field in query.fields.items():
        target = get_named_type(field.type)
        if isinstance(target, GraphQLObjectType) and not any(is_required_argument(one) for one in field.args.values()):
            for inner in _parts(schema, target, (target.name,)):
                yield f"{name}{_given(name, field)} {{ {inner} }}", name


def _values(given: GraphQLInputObjectType) -> Iterator[str]:
    for name, field in given.fields.items():
        target = get_named_type(field.type)
        if isinstance(target, GraphQLEnumType):
            yield from (f"{{{name}: {value}}}" for value in target.values)
        elif target is given:
            # And, or and not of the filter itself: of nothing, but for and, they are refused.
            yield f"{{{name}: {{id: {{ne: null}}}}}}" if "id" in given.fields else "{and: {}}"
        else:
            yield f"{{{name}: {{}}}}"


def _most(part: GraphQLSchema) -> int:
    """Return how many fields an answer about what is shown may have."""
    return fields_of(part) * 9 // 8


def _words(data: Any) -> Iterator[str]:
    """Yield all texts of an answer."""
    if isinstance(data, dict):
        for one in data.values():
            yield from _words(one)
    elif isinstance(data, list):
        for one in data:
            yield from _words(one)
    elif isinstance(data, str):
        yield data
