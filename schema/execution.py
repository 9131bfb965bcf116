"""The executor: strawberry's own, except that rows of tables are completed column by column (`schema/completion.py`).

What a selection is made of is worked out once for each place in an operation and kept with the operation
(`schema/operation.py`), whoever runs it: nothing of a viewer is in it. The guards are asked in each run.
"""

from collections.abc import Awaitable, Iterable, Sequence
from typing import Any, Final

from graphql import GraphQLObjectType, get_nullable_type
from graphql.execution.collect_fields import FieldDetailsList
from graphql.pyutils import Path
from graphql.type.definition import GraphQLResolveInfoHelpers
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from models.audit_entry import AuditEntry
from models.inventory import entity_of
from models.row import Row
from schema.completion import Batch, Completion, PathOf
from schema.completion_step import compile_selection
from schema.field import TYPES
from schema.selection import NEEDS, place_of

_TRAIL: Final = entity_of(AuditEntry)


class RowsExecutor(StrawberryGraphQLCoreExecutionContext):
    """Runs an operation."""

    @property
    def async_helpers(self) -> GraphQLResolveInfoHelpers:
        """What `info` holds. Kept, it would refer back to here, and all of it wait for the collector of cycles."""
        return GraphQLResolveInfoHelpers(gather=self.gather_async_work, track=self.track_async_work)

    @async_helpers.setter
    def async_helpers(self, _: GraphQLResolveInfoHelpers) -> None:
        """Keep nothing."""

    def complete_iterable_value(
        self,
        item_type: Any,
        field_details_list: FieldDetailsList,
        info: Any,
        path: Path,
        items: Iterable[Any],
        position_context: Any,
    ) -> Any:
        """Complete a list: of rows at once, of anything else one by one."""
        object_type = get_nullable_type(item_type)
        if type(items) is list and items and isinstance(items[0], Row) and isinstance(object_type, GraphQLObjectType):
            return self.complete_rows(object_type, field_details_list, items, lambda index: Path(path, index, None))
        return super().complete_iterable_value(item_type, field_details_list, info, path, items, position_context)

    def complete_object_value(
        self,
        return_type: GraphQLObjectType,
        field_details_list: FieldDetailsList,
        info: Any,
        path: Path,
        result: Any,
        position_context: Any,
    ) -> Any:
        """Complete an object: a row as a list of one."""
        if not isinstance(result, Row):
            return super().complete_object_value(return_type, field_details_list, info, path, result, position_context)
        completed = self.complete_rows(return_type, field_details_list, [result], lambda _: path)
        return completed[0] if isinstance(completed, list) else _first(completed)

    def complete_rows(
        self, object_type: GraphQLObjectType, details: FieldDetailsList, rows: Sequence[Row], path_of: PathOf
    ) -> Any:
        """Return the objects that the rows become, or an awaitable of them."""
        return self.complete(details, Batch.of_rows(self, object_type, rows, path_of)) if rows else []

    def complete(self, details: FieldDetailsList, batch: Batch) -> Any:
        """Return the objects that the rows of a batch become, or an awaitable of them.

        That somebody reads entries of the trail is noted here, where they pass however they are come by.
        """
        if batch.entity is _TRAIL:
            self.context_value.read_log.note_entries(batch.ids)
        return self._completion(batch.object_type, details).run(batch)

    def _completion(self, object_type: GraphQLObjectType, details: FieldDetailsList) -> Completion:
        """Return what completes the rows at a place of the operation, and keep it."""
        kept = self.context_value.completions
        key = (object_type.name, place_of([one.node for one in details]))
        found: Completion | None = kept.get(key)
        if found is None:
            model = TYPES[object_type.name].model
            if model is None:
                raise LookupError(f"The type {object_type.name} stands for no table.")
            collected = self.collect_subfields(object_type, details).grouped_field_set
            needs = self.schema.extensions[NEEDS]
            found = kept[key] = compile_selection(object_type, entity_of(model), collected, needs)
        return found


async def _first(completed: Awaitable[list[Any]]) -> Any:
    return (await completed)[0]
