"""An example for every entry, input and scalar of the contract, in its description.

Examples are worked out from the schema itself, so that what is added has one, and each is valid as long as the schema
says so; those of the entries that want more telling are written out. A test parses and validates all of them.
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

from schema.mutation import mutation_of

OPENING: Final = "Example: `"
"""Where an example begins in a description; it ends with the description's last backtick."""

SOMETHING: Final = "0198c0de-0000-7000-8000-000000000001"
"""The UUID that examples name objects by."""

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

SCALARS: Final[Mapping[str, str]] = {
    "DateTime": '"2026-05-31T14:30:00Z"',
    "Date": '"2026-05-31"',
    "UUID": f'"{SOMETHING}"',
    "Int": "1",
    "Float": "7.4",
    "Boolean": "true",
}
"""Values of scalars, as they are written in an operation."""

TEXTS: Final[Mapping[str, str]] = {
    "characteristic": "pH",
    "alsoNamed": "B. Berg",
    "clientName": "dashboard",
    "clientVersion": "2.4.0",
    "code": "CANAL",
    "CreateSiteInput.code": "C-07",
    "CreateSiteInput.name": "Weir at the old mill",
    "ConfirmTotpInput.code": "123456",
    "column": "Site",
    "contains": "weir",
    "documents": "{ projects { nodes { code name } } }",
    "CreateArchiveInput.reason": "We move to another service.",
    "CreateRoleInput.name": "Laboratory",
    "RequestErasureInput.reason": "They asked for it by letter.",
    "RequestMyErasureInput.reason": "I leave.",
    "ExportMyDataInput.reason": "I leave.",
    "CreateServiceAccountInput.name": "Dashboard",
    "ConfirmTotpInput.name": "My phone",
    "email": "ada@acme.example",
    "endsWith": "-07",
    "fileName": "results.csv",
    "EnrolDeviceInput.code": "…",
    "eq": "C-07",
    "InviteUserInput.name": "Ada Park",
    "model": "CR1000",
    "name": "Canal survey",
    "names": "B. Berg",
    "note": "A test of ours.",
    "organization": "acme",
    "reason": "The bottle was mislabelled.",
    "RegisterPasskeyInput.name": "Security key",
    "RenameAuthenticatorInput.name": "Security key",
    "RenameSessionInput.name": "Laptop in the office",
    "serialNumber": "SN 77-b",
    "siteCode": "C-07",
    "siteName": "Weir at the old mill",
    "startsWith": "C-",
    "totp": "123456",
    "unit": "mg/l",
    "UpdateRoleInput.name": "Laboratory",
    "UpdateSiteInput.name": "Weir at the old mill",
}
"""Texts by the name of their field, or of an input's; what is secret or made by a program is three dots."""

WRITTEN: Final[Mapping[str, str]] = {
    "days": "730",
    "dueAt": '"2030-01-31T00:00:00Z"',
    "expiresAt": '"2030-01-31T00:00:00Z"',
    "first": "10",
    "size": "52418",
    "latitude": "52.52",
    "longitude": "13.405",
    "DevicePlatform": "LOGGER",
    "ErasureKind": "NAME",
    "OrganizationRole": "AUDITOR",
    "Permission": "RECORD_READ",
    "ProjectRole": "COLLECTOR",
    "SignatureMeaning": "APPROVAL",
}
"""Other values, by the name of their field or enum."""

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
    """Write an example into the description of every entry, input and scalar."""
    for root, keyword, told in (
        (core.query_type, "", ROOTS),
        (core.mutation_type, "mutation ", {}),
        (core.subscription_type, "subscription ", SUBSCRIPTIONS),
    ):
        for name, field in root.fields.items() if root is not None else ():
            field.description = _with(field.description, told.get(name) or f"{keyword}{{ {_entry(name, field)} }}")
    subjects = dict(_subjects(core))
    for one in core.type_map.values():
        if isinstance(one, GraphQLInputObjectType):
            written = INPUTS.get(one.name) or _object(one, subject=subjects.get(one.name))
            one.description = _with(one.description, written)
        elif isinstance(one, GraphQLScalarType) and not is_specified_scalar_type(one) and one.name in SCALARS:
            one.description = _with(one.description, SCALARS[one.name])


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


def _with(description: str | None, example: str) -> str:
    return f"{description or ''}\n\n{OPENING}{example}`".lstrip()


def _entry(name: str, field: GraphQLField) -> str:
    """Return an entry as it is asked for: with what it takes at the least, and a page with its size."""
    said = mutation_of(field)
    subject = said.subject if said is not None and said.subject else get_named_type(field.type).name
    given = [
        f"{one}: {_value(argument.type, one, subject=subject)}"
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


def _value(type_: Any, name: str, *, subject: str | None, of: str = "") -> str:
    """Return a value of a type, for a field or argument of that name. of: the input that has the field."""
    if isinstance(type_, GraphQLNonNull):
        return _value(type_.of_type, name, subject=subject, of=of)
    if isinstance(type_, GraphQLList):
        return f"[{_value(type_.of_type, name, subject=subject, of=of)}]"
    if isinstance(type_, GraphQLEnumType):
        return WRITTEN.get(type_.name) or next(iter(type_.values))
    if isinstance(type_, GraphQLInputObjectType):
        return INPUTS.get(type_.name) or _object(type_, subject=subject)
    if type_.name == "ID":
        return f'"{_named_by(name, subject)}:{SOMETHING}"'
    if type_.name == "String":
        return f'"{TEXTS.get(f"{of}.{name}") or TEXTS.get(name, "…")}"'
    return WRITTEN.get(name) or SCALARS[type_.name]


def _named_by(name: str, subject: str | None) -> str:
    """Return the type whose id a field takes: that which it names, or what the mutation acts on."""
    bare = name.removesuffix("s").removesuffix("Id")
    if bare != name.removesuffix("s"):
        return bare[:1].upper() + bare[1:]
    return {"handOverTo": "User"}.get(name) or subject or "Record"


def _object(type_: GraphQLInputObjectType, *, subject: str | None) -> str:
    """Return an input with what it demands and what is shown besides; with its first field where that is nothing."""
    fields = type_.fields
    chosen = [one for one, field in fields.items() if is_required_input_field(field) or f"{type_.name}.{one}" in SHOWN]
    parts = [
        f"{one}: {_value(fields[one].type, one, subject=subject, of=type_.name)}" for one in chosen or list(fields)[:1]
    ]
    return f"{{{', '.join(parts)}}}"
