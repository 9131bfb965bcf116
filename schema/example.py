"""An example for every type, every entry, and every field and argument that holds a value, in its description.

Examples are worked out from the schema itself, so that what is added has one, and each is valid as long as the schema
says so; those of the entries that want more telling are written out, and `schema/example_word.py` has the words. What
leads to an object or takes an input has its example with that type. A test parses and validates all of them.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    get_named_type,
    is_leaf_type,
    is_required_argument,
    is_required_input_field,
    is_specified_scalar_type,
)

from schema.example_word import IDS, SCALARS, SOMETHING, WRITTEN, text_of, word_of
from schema.mutation import mutation_of

OPENING: Final = "Example: `"
"""Where an example begins in a description; it ends with the description's last backtick."""

MOST_VALUES: Final = 3
"""Of how many values of an object its example tells."""
FEW_VALUES: Final = 2
"""With fewer values than this, an object's example tells of what it leads to as well."""

ROOTS: Final[Mapping[str, str]] = {
    "viewer": "{ viewer { user { id name } role } }",
    "node": f'{{ node(id: "Record:{SOMETHING}") {{ id ... on Record {{ siteCode }} }} }}',
    "nodes": (
        f'{{ nodes(ids: ["Record:{SOMETHING}", "Project:{SOMETHING}"])'
        " { id ... on Record { siteCode } ... on Project { code } } }"
    ),
    "projects": '{ projects(search: "canal", orderBy: {field: NAME}) { nodes { id code name } } }',
    "devices": "{ devices(filter: {status: {eq: ACTIVE}}) { nodes { id model user { name } } } }",
    "records": (
        '{ records(first: 20, filter: {siteCode: {startsWith: "C-"}, not: {status: {eq: DRAFT}}},'
        " orderBy: [{field: SITE_CODE}, {field: COLLECTED_AT, direction: DESC}])"
        " { nodes { id siteCode collectedAt measurements { characteristic value unit } }"
        " pageInfo { hasNextPage endCursor } } }"
    ),
    "recordAsOf": f'{{ recordAsOf(id: "Record:{SOMETHING}", at: "2026-05-31T14:30:00Z") {{ siteCode status }} }}',
    "recordGroups": "{ recordGroups(by: [PROJECT, COLLECTED_AT], bucket: MONTH) { projectId collectedAt count } }",
    "measurementGroups": (
        '{ measurementGroups(by: [SITE_CODE, UNIT], filter: {characteristic: {eq: "pH"}})'
        " { siteCode unit count valueMedian } }"
    ),
    "auditEntries": (
        f'{{ auditEntries(first: 20, filter: {{entityIds: {{has: "Record:{SOMETHING}"}}}})'
        " { nodes { at action outcome user { name } } } }"
    ),
    "sites": (
        '{ sites(search: "weir", filter: {kind: {eq: "River/Stream"}}, orderBy: {field: CODE})'
        " { nodes { id code name } } }"
    ),
    "measurementSeries": (
        '{ measurementSeries(characteristic: "Turbidity", start: "2026-03-01T00:00:00Z",'
        ' end: "2026-03-02T00:00:00Z", width: 24) { siteCode unit points { at min max mean } } }'
    ),
    "changes": "{ changes(first: 100, types: [RECORD]) { changes { kind id record { siteCode } } cursor hasMore } }",
    "accessDecision": (
        f'{{ accessDecision(principal: "User:{SOMETHING}", on: "Record:{SOMETHING}", field: "comment")'
        " { allowed permission reasons { says } } }"
    ),
}
"""The examples of queries that want more telling."""

SUBSCRIPTIONS: Final[Mapping[str, str]] = {
    "changes": "subscription { changes(types: [RECORD]) { changes { kind id record { siteCode } } cursor } }",
}
"""Those of subscriptions."""

INPUTS: Final[Mapping[str, str]] = {
    "RecordFilter": '{siteCode: {startsWith: "C-"}, or: [{medium: {eq: WATER}}, {method: {isNull: true}}]}',
    "SiteFilter": '{code: {startsWith: "C-"}, kind: {in: ["River/Stream", "Lake"]}}',
    "DataImportFilter": "{status: {in: [RUNNING, FAILED]}}",
    "ImportMappingFilter": '{name: {contains: "laboratory", ignoreCase: true}}',
    "ErasureRequestFilter": "{status: {in: [REQUESTED, CONFIRMED]}}",
    "CreateExportInput": "{format: CSV, filter: {status: {eq: APPROVED}}}",
    "ExportFilter": "{status: {eq: READY}, format: {ne: ARCHIVE}}",
    "TrustedDocumentFilter": '{clientName: {eq: "dashboard"}, clientVersion: {startsWith: "2."}}',
    "ImportTableInput": (
        '{columns: [{column: "Site", field: SITE_CODE}, {column: "Sampled", field: COLLECTED_AT}],'
        ' results: [{column: "pH", characteristic: "pH"}], timeZone: "Europe/Berlin"}'
    ),
    "MappedConstantInput": '{field: TIME_ZONE, value: "Europe/Berlin"}',
    "MeasurementFilter": '{characteristic: {in: ["pH", "Temperature"]}, not: {unit: {isNull: true}}}',
    "ProjectFilter": '{status: {eq: ACTIVE}, name: {contains: "canal", ignoreCase: true}}',
    "DeviceFilter": '{status: {eq: ACTIVE}, lastSeenAt: {lt: "2026-05-31T00:00:00Z"}}',
    "TextFilter": '{startsWith: "c-", ignoreCase: true}',
    "TimeFilter": '{gte: "2026-05-01T00:00:00Z", lt: "2026-06-01T00:00:00Z"}',
    "DateFilter": '{gte: "2026-05-01", lte: "2026-05-31"}',
    "UserFilter": "{role: {eq: AUDITOR}, status: {eq: ACTIVE}}",
    "NumberFilter": "{gte: 52.4, lt: 52.6}",
    "CustomRoleFilter": "{level: {eq: PROJECT}}",
    "ServiceAccountFilter": '{revokedAt: {isNull: true}, expiresAt: {lt: "2026-06-30T00:00:00Z"}}',
    "ProjectMemberFilter": "{role: {eq: MANAGER}}",
    "SitePropertiesInput": '{code: "wellNumber", name: "wellName"}',
    "LegalHoldFilter": "{liftedAt: {isNull: true}}",
    "RecordOrder": "{field: COLLECTED_AT, direction: DESC}",
}
"""The examples of inputs that want more telling."""

SHOWN: Final = frozenset(
    {
        *("AssignOrganizationRoleInput.role", "AssignProjectRoleInput.role", "InviteUserInput.role"),
        *("CreateArchiveInput.reason", "UpdateSiteInput.name", "UpdateImportMappingInput.name"),
        *("CreateRecordInput.measurements", "CreateRecordInput.latitude", "CreateRecordInput.longitude"),
        *("MeasurementInput.value", "MeasurementInput.unit", "SetTrailRetentionInput.days"),
        *("SetRetentionInput.days", "SetProjectFieldsInput.fieldsOff"),
        *("UpdateProjectInput.name", "UpdateRecordInput.siteName", "UpdateRoleInput.name"),
    }
)
"""Fields of inputs that are shown though they may be left out."""


def publish_examples(core: GraphQLSchema) -> None:
    """Write an example into the description of every type, entry, and field and argument that holds a value."""
    subjects = dict(_subjects(core))
    for one in core.type_map.values():
        if one.name.startswith("__"):
            continue
        if isinstance(one, GraphQLInputObjectType):
            _show(one, INPUTS.get(one.name) or _object(one, subject=subjects.get(one.name)))
            _show_values(one.fields, of=one.name, subject=subjects.get(one.name))
        elif isinstance(one, GraphQLObjectType | GraphQLInterfaceType):
            _show(one, _told(one))
            _show_values(one.fields, of=one.name, subject=one.name)
            for name, field in one.fields.items():
                _show_values(field.args, of=name, subject=_subject(field))
        elif isinstance(one, GraphQLEnumType):
            _show(one, _told(one))
        elif isinstance(one, GraphQLScalarType) and not is_specified_scalar_type(one) and one.name in SCALARS:
            _show(one, SCALARS[one.name])
    for root, keyword, told in (
        (core.query_type, "", ROOTS),
        (core.mutation_type, "mutation ", {}),
        (core.subscription_type, "subscription ", SUBSCRIPTIONS),
    ):
        for name, field in root.fields.items() if root is not None else ():
            _show(field, told.get(name) or f"{keyword}{{ {_entry(name, field)} }}")


def renew_examples(part: GraphQLSchema) -> None:
    """Make the examples of objects and enums anew that name what a part of the schema leaves out."""
    for one in part.type_map.values():
        if isinstance(one, GraphQLObjectType | GraphQLInterfaceType | GraphQLEnumType):
            before = example_in(one.description)
            if before is not None and before != (now := _told(one)):
                _show(one, now)


def example_in(description: str | None) -> str | None:
    """Return the example in a description, if there is one."""
    _, found, rest = (description or "").rpartition(OPENING)
    return rest.rstrip("`") if found else None


def _subjects(core: GraphQLSchema) -> Iterator[tuple[str, str]]:
    """Yield the inputs of mutations with the type that each acts on."""
    for field in core.mutation_type.fields.values() if core.mutation_type is not None else ():
        said = mutation_of(field)
        for argument in field.args.values():
            if said is not None and said.subject is not None:
                yield get_named_type(argument.type).name, said.subject


def _show(one: Any, example: str) -> None:
    """Write an example into a description, in place of the one that it has."""
    said, found, rest = (one.description or "").rpartition(OPENING)
    one.description = f"{said if found else rest}\n\n{OPENING}{example}`".lstrip()


def _show_values(parts: Mapping[str, Any], *, of: str, subject: str | None) -> None:
    """Write an example into the description of all fields or arguments of an owner that hold a value."""
    for name, part in parts.items():
        if is_leaf_type(get_named_type(part.type)):
            _show(part, _value(part.type, name, subject=subject, of=of))


def _subject(field: GraphQLField) -> str:
    """Return the type that a field's arguments are about: what a mutation acts on, or what it leads to."""
    said = mutation_of(field)
    return said.subject if said is not None and said.subject else get_named_type(field.type).name


def _entry(name: str, field: GraphQLField) -> str:
    """Return an entry as it is asked for: with what it takes at the least, and a page with its size."""
    given = [
        f"{one}: {_value(argument.type, one, subject=_subject(field), of=name)}"
        for one, argument in field.args.items()
        if is_required_argument(argument) or one == "first"
    ]
    arguments = f"({', '.join(given)})" if given else ""
    return f"{name}{arguments}{_selection(get_named_type(field.type))}"


def _selection(named: Any, depth: int = 3) -> str:
    """Return what is asked for of an object: its id, or the first of its values, and where errors would stand."""
    if not isinstance(named, GraphQLObjectType | GraphQLInterfaceType):
        return ""
    if "nodes" in named.fields and "pageInfo" in named.fields:
        return f" {{ nodes{_selection(get_named_type(named.fields['nodes'].type))} }}"
    if "errors" in named.fields:
        return f" {{ {' '.join([*_of_payload(named), 'errors { code message field }'])} }}"
    if "id" in named.fields:
        return " { id }"
    leaves = [name for name, one in named.fields.items() if is_leaf_type(get_named_type(one.type)) and not one.args]
    if leaves:
        return f" {{ {' '.join(leaves[:2])} }}"
    name, field = next(iter(named.fields.items()))
    return f" {{ {name}{_selection(get_named_type(field.type), depth - 1) if depth else ''} }}"


def _of_payload(payload: GraphQLObjectType | GraphQLInterfaceType) -> Iterator[str]:
    """Yield what is shown of a payload: what was changed, or else what is told."""
    for name, field in payload.fields.items():
        if name != "errors":
            yield f"{name}{_selection(get_named_type(field.type))}"
            return


def _told(one: GraphQLObjectType | GraphQLInterfaceType | GraphQLEnumType) -> str:
    """Return the example of a type of answers, which names nothing but what the type has."""
    return _value_of(one) if isinstance(one, GraphQLEnumType) else _answer(one)


def _answer(named: GraphQLObjectType | GraphQLInterfaceType, *, nested: bool = False) -> str:
    """Return an object as it may be answered: the first of its values; where those are few, with what it leads to."""
    plain = {
        name: field for name, field in named.fields.items() if not any(map(is_required_argument, field.args.values()))
    }
    values = [name for name, field in plain.items() if is_leaf_type(get_named_type(field.type))]
    telling = [name for name in values if name != "id"] or values
    chosen = telling[:MOST_VALUES]
    if len(telling) < FEW_VALUES and not nested:
        ways = [name for name in plain if name not in values]
        chosen += [name for name in ways if name != "errors"][:1] or ([] if chosen else ways[:1])
    parts = (f"{name}: {_answered(field.type, name, named.name)}" for name, field in plain.items() if name in chosen)
    return f"{{{', '.join(parts)}}}"


def _answered(type_: Any, name: str, of: str) -> str:
    if isinstance(type_, GraphQLNonNull):
        return _answered(type_.of_type, name, of)
    if isinstance(type_, GraphQLList):
        return f"[{_answered(type_.of_type, name, of)}]"
    if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType):
        return _answer(type_, nested=True)
    return _value(type_, name, subject=of, of=of)


def _value(type_: Any, name: str, *, subject: str | None, of: str) -> str:
    """Return a value of a type, for a field or argument of that name. of: the type, or the field, that has it."""
    if isinstance(type_, GraphQLNonNull):
        return _value(type_.of_type, name, subject=subject, of=of)
    if isinstance(type_, GraphQLList):
        return f"[{_value(type_.of_type, name, subject=subject, of=of)}]"
    if isinstance(type_, GraphQLEnumType):
        return _value_of(type_)
    if isinstance(type_, GraphQLInputObjectType):
        return INPUTS.get(type_.name) or _object(type_, subject=subject)
    if type_.name == "ID":
        return f'"{_named_by(name, subject, of)}:{SOMETHING}"'
    if type_.name == "String":
        return text_of(of, name)
    return word_of(WRITTEN, of, name) or SCALARS[type_.name]


def _value_of(type_: GraphQLEnumType) -> str:
    """Return a value of an enum: the one that is said, where it is among them, or the first."""
    said = WRITTEN.get(type_.name)
    return said if said is not None and said in type_.values else next(iter(type_.values))


def _named_by(name: str, subject: str | None, of: str) -> str:
    """Return the type whose id stands somewhere: the one that is said, that the name names, or that it is about."""
    bare = name.removesuffix("s").removesuffix("Id")
    named = bare[:1].upper() + bare[1:] if bare != name.removesuffix("s") else None
    return word_of(IDS, of, name) or named or IDS.get(subject or "", subject or "Record")


def _object(type_: GraphQLInputObjectType, *, subject: str | None) -> str:
    """Return an input with what it demands and what is shown besides; with its first field where that is nothing."""
    fields = type_.fields
    chosen = [one for one, field in fields.items() if is_required_input_field(field) or f"{type_.name}.{one}" in SHOWN]
    parts = [
        f"{one}: {_value(fields[one].type, one, subject=subject, of=type_.name)}" for one in chosen or list(fields)[:1]
    ]
    return f"{{{', '.join(parts)}}}"
