"""Why somebody may or may not read something: for owners, admins and auditors."""

from datetime import datetime
from typing import Any

import strawberry
from graphql import GraphQLObjectType, GraphQLSchema

from auth.permission import Permission
from auth.principal import Viewer
from models.errors import InvalidInputError
from models.inventory import entity_of
from models.membership import Membership
from models.service_account import ServiceAccount
from resolvers.explain import Decision, Principal, Source, explain_access
from resolvers.read import Reader
from schema.context import context_of
from schema.field import TYPES, derived, resolved, structure
from schema.node import Node, split_id
from schema.sweep import guard_of

AccessSource = strawberry.enum(Source, name="AccessSource", description="What has a say in a decision.")

_PRINCIPALS: dict[str, type[Membership] | type[ServiceAccount]] = {
    "User": Membership,
    "ServiceAccount": ServiceAccount,
}


@structure
@strawberry.type(description="One thing that has a say in a decision.")
class AccessReason:
    source: Source = strawberry.field(description="What it is.", metadata=derived())
    gives: bool = strawberry.field(description="Whether it speaks for it.", metadata=derived())
    says: str = strawberry.field(description="What it says, in words.", metadata=derived())
    role: str | None = strawberry.field(description="The role, where it is one.", metadata=derived())
    expires_at: datetime | None = strawberry.field(description="Until when it holds.", metadata=derived())

    @resolved("The role of the organization's own, where it is one.", derived())
    def custom_role_id(src: strawberry.Parent[Any]) -> strawberry.ID | None:
        return strawberry.ID(f"CustomRole:{src.custom_role_id}") if src.custom_role_id else None


@structure
@strawberry.type(description="Whether somebody may do something at this moment, and why.")
class AccessDecision:
    allowed: bool = strawberry.field(description="Whether they may.", metadata=derived())
    permission: str = strawberry.field(description="The permission that it takes.", metadata=derived())
    scope: str = strawberry.field(
        description="Where the decision is made: ORGANIZATION, or the project's id.", metadata=derived()
    )
    otherwise: str | None = strawberry.field(
        description="What is answered in its place, of a field that may not be read.", metadata=derived()
    )
    reasons: list[AccessReason] = strawberry.field(description="All that has a say.", metadata=derived())


class DecisionSource:
    """The value behind `AccessDecision`."""

    def __init__(self, decision: Decision, otherwise: str | None) -> None:
        self.allowed = decision.allowed
        self.permission = decision.permission
        self.scope = decision.scope
        self.reasons = decision.reasons
        self.otherwise = None if decision.allowed else otherwise


async def decide(
    info: strawberry.Info, principal: str, on: str, field: str | None, permission: Permission | None
) -> Any:
    """Return the decision on a field of an object, or on a permission in its scope."""
    context = context_of(info)
    core: GraphQLSchema = info._raw_info.schema
    return await decision(
        core, context.reader, context.viewer, principal=principal, on=on, field=field, permission=permission
    )


async def decision(
    core: GraphQLSchema,
    reader: Reader,
    asker: Viewer,
    *,
    principal: str,
    on: str,
    field: str | None,
    permission: Permission | None,
) -> DecisionSource:
    """Return the decision that the asker asks for, by global ids: the API's, and the command line's.

    Raises:
        InvalidInputError: an id or a field is none; not just one of field and permission is given.
        ForbiddenError, NotFoundError: as `explain_access` does.
    """
    kind, principal_id = split_id(principal, at=("principal",))
    if kind not in _PRINCIPALS:
        raise InvalidInputError("Expected the id of a User or a ServiceAccount.", field=("principal",))
    type_name, row_id = split_id(on, at=("on",))
    if (field is None) == (permission is None):
        raise InvalidInputError("Expected either field or permission.", field=("field",))
    entity = entity_of(_model(core, type_name))
    taken, otherwise = (permission, None) if field is None else field_guard(core, type_name, field)
    async with reader.use() as connection:
        found = await explain_access(
            connection,
            asker,
            principal=Principal(_PRINCIPALS[kind], principal_id),
            entity=entity,
            row_id=row_id,
            permission=taken,
        )
    return DecisionSource(found, otherwise)


def field_guard(core: GraphQLSchema, type_name: str, field: str) -> tuple[Permission | None, str | None]:
    """Return what reading the field takes, None where seeing the object is enough, and what is answered otherwise.

    Raises:
        InvalidInputError: there is no such type or field.
    """
    _model(core, type_name)
    one = core.type_map[type_name]
    found = one.fields.get(field) if isinstance(one, GraphQLObjectType) else None
    if found is None:
        raise InvalidInputError(f"{type_name} has no such field.", field=("field",))
    guard = guard_of(type_name, found)
    return (None, None) if guard is None else (Permission(guard[0]), guard[1].value)


def _model(core: GraphQLSchema, type_name: str) -> Any:
    declared, one = TYPES.get(type_name), core.type_map.get(type_name)
    is_node = isinstance(one, GraphQLObjectType) and any(each.name == Node.__name__ for each in one.interfaces)
    if declared is None or declared.model is None or not is_node:
        raise InvalidInputError("Expected the global id of an object.", field=("on",))
    return declared.model
