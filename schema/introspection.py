"""Introspection: each viewer is shown what some role of theirs could reach (`schema/sight.py`).

One schema executes for everyone, so that a dashboard's documents are valid for every role. An operation that asks for
the schema runs in an executor of its own (`schema/api.py: Api.execute` chooses), in which `__schema` and `__type`
answer with the viewer's part.
"""

import re
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Final

from graphql import (
    DocumentNode,
    ExecutionResult,
    FieldNode,
    GraphQLError,
    GraphQLField,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    introspection_types,
    parse,
)
from graphql.pyutils import Path
from graphql.type.introspection import SchemaMetaFieldDef, TypeMetaFieldDef
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from auth.principal import Viewer
from schema.context import RequestContext, ResolveInfo
from schema.limits import TooComplexError
from schema.sight import Reach, visible_schema
from schema.text import extent_of

MOST_KEPT: Final = 64
"""Schemas in memory, one for each set of permissions: 230 KiB each, and 4 ms to make another."""
MOST_SHOWN: Final = 60_000
"""Fields of an answer about the schema. All that there is to ask of it, asked by an owner, takes less than half."""
MOST_SHOWN_TO_ANYONE: Final = 5_000
"""The same where nobody is signed in."""
MOST_TO_ASK: Final = 1_000
"""Tokens of a text that is looked at for whether it asks for the schema alone. Clients ask with some three hundred."""

_VISIBLE: Final = "visible"
_ASKS: Final = re.compile(r"__(?:schema|type)\b")
_ROOTS: Final = frozenset({"__schema", "__type", "__typename"})
_TYPES: Final = frozenset(introspection_types.values())


def reach_of(viewer: Viewer) -> Reach:
    """Return what the viewer may do: in the organization, in any of their projects, with what is about themselves."""
    access = viewer.access
    by_roles = access.everywhere.union(*access.projects.values())
    return Reach(anywhere=access.reach, everywhere=access.everywhere, own_alone=access.reach - by_roles)


def publish_sights(core: GraphQLSchema) -> None:
    """Let the schema be shown: each part of it is made once for all who reach the same."""
    core.extensions[_VISIBLE] = lru_cache(MOST_KEPT)(partial(visible_schema, core))


def asks_for_schema(document: DocumentNode) -> bool:
    """Return whether anything in the document asks for the schema. May say so of a text in which that is mere words."""
    # A name can be written in one way only, wherever it stands.
    return document.loc is None or _ASKS.search(document.loc.source.body) is not None


def asks_for_schema_alone(text: str) -> bool:
    """Return whether a text's queries ask for the schema and for nothing else: what is public for whoever asks."""
    if _ASKS.search(text) is None:
        return False
    try:
        if extent_of(text).tokens > MOST_TO_ASK:
            return False
        document = parse(text)
    except (GraphQLError, TooComplexError, RecursionError):
        return False
    operations = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    return all(
        one.operation is OperationType.QUERY
        and all(isinstance(root, FieldNode) and root.name.value in _ROOTS for root in one.selection_set.selections)
        for one in operations
    )


class SchemaExecutor(StrawberryGraphQLCoreExecutionContext):
    """Runs an operation that asks for the schema: as any other, but what shows the schema shows the viewer's part."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._visible: GraphQLSchema | None = None
        self._shown = 0
        self._most = MOST_SHOWN

    def build_resolve_info(
        self, field_def: GraphQLField, field_nodes: list[FieldNode], parent_type: GraphQLObjectType, path: Path
    ) -> ResolveInfo:
        """Return what a field resolves with: introspection's own fields read the schema from it, and nowhere else."""
        info: Any = super().build_resolve_info(field_def, field_nodes, parent_type, path)
        if parent_type in _TYPES or field_def is SchemaMetaFieldDef or field_def is TypeMetaFieldDef:
            self._shown += 1
            if self._shown > self._most:
                raise GraphQLError("The operation asks for too much of the schema.")
            return info._replace(schema=self._visible_schema())
        return info

    def build_response(self, data: dict[str, Any] | None) -> Any:
        """Return the answer, or nothing but that too much was asked for."""
        response = super().build_response(data)
        if self._shown <= self._most:
            return response
        error = TooComplexError(
            f"The operation asks for more than {self._most} fields of the schema. Ask for less at once."
        )
        return ExecutionResult(None, [GraphQLError(error.message, original_error=error)])

    def _visible_schema(self) -> GraphQLSchema:
        if self._visible is None:
            context: RequestContext = self.context_value
            if context.refusal is not None:
                # Who came with a token is not shown what anyone is, as if it were theirs.
                raise GraphQLError(context.refusal.message, original_error=context.refusal)
            viewer = context.actor.viewer
            self._most = MOST_SHOWN if viewer else MOST_SHOWN_TO_ANYONE
            visible: Callable[[Reach | None], GraphQLSchema] = self.schema.extensions[_VISIBLE]
            self._visible = visible(reach_of(viewer) if viewer else None)
        return self._visible
