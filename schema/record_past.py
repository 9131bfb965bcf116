"""A record as it was at a moment. Each field is guarded as that of the record of today is, by today's policy."""

from dataclasses import replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import strawberry

from auth.scope import project_scope
from models.base import WardModel
from models.inventory import entity_of
from models.measurement import Measurement as MeasurementModel
from models.past import AS_OF, State, fetch_past
from models.place import CELLS
from models.record import Record as RecordModel
from models.row import Row
from resolvers.record_past import PastState, record_as_of
from schema.column_change import may_know_the_place
from schema.context import RequestContext, ResolveInfo
from schema.field import column, derived, resolved, rows, stands_for
from schema.record import MeasurementFields, RecordFields
from schema.selection import selected_of

_IS_COARSE: Final = "location_is_coarse"


@stands_for(MeasurementModel, is_past=True)
@strawberry.type(description="One result of a record as it was at a moment.")
class PastMeasurement(MeasurementFields):
    measurement_id: UUID = column("The measurement, as in the record's history.", name="id")


@stands_for(RecordModel, is_past=True)
@strawberry.type(
    description="A record as it was at a moment. Links lead to what it named then, as that is now. You may read of it"
    " what you may read of the record today; a collector's pseudonym is not known of the past."
)
class PastRecord(RecordFields):
    @resolved("The moment that was asked for.", derived())
    def as_of(src: strawberry.Parent[Any]) -> datetime:
        moment: datetime = src[AS_OF]
        return moment

    @resolved("The results, in the order of the report.", rows(MeasurementModel))
    async def measurements(src: strawberry.Parent[Any], info: strawberry.Info) -> list[PastMeasurement]:
        raw: ResolveInfo = info._raw_info
        moment: datetime = src[AS_OF]
        state = await _state(raw.context, src["id"], moment)
        states = state.measurements if state is not None else []
        found: Any = await _rows(raw, MeasurementModel, "PastMeasurement", states, moment)
        return found


async def load_past(info: strawberry.Info, record_id: UUID, moment: datetime) -> Any:
    """Return the record as it was, with what the selection under this field needs; None where there was none, or none
    that the viewer sees today."""
    raw: ResolveInfo = info._raw_info
    state = await _state(raw.context, record_id, moment)
    if state is None:
        return None
    return (await _rows(raw, RecordModel, "PastRecord", [state.record], moment))[0]


async def _state(context: RequestContext, record_id: UUID, moment: datetime) -> PastState | None:
    """Return what the record was, as far as the viewer may know where it was made. Worked out once an operation."""

    async def load(ids: list[UUID]) -> list[PastState | None]:
        found = []
        for one in ids:
            async with context.reader.use() as connection:
                state = await record_as_of(connection, context.viewer, one, moment)
            found.append(None if state is None else replace(state, record=_as_told(context, state)))
        return found

    state: PastState | None = await context.loader(("past", moment), load).load(record_id)
    return state


def _as_told(context: RequestContext, state: PastState) -> State:
    """Return the record with its cell in place of its place, where the viewer may not know the place today."""
    record = state.record
    if record[_IS_COARSE] or not state.is_sensitive:
        return record
    if may_know_the_place(context, project_scope(UUID(record["project_id"])), entity_of(RecordModel)):
        return record
    cells = {name: cell(record[name]) for name, cell in CELLS.items() if record.get(name) is not None}
    return {**record, **cells, _IS_COARSE: True}


async def _rows(
    raw: ResolveInfo, model: type[WardModel], type_name: str, states: list[State], moment: datetime
) -> list[Row]:
    if not states:
        return []
    columns = selected_of(raw, type_name).columns
    async with raw.context.reader.use() as connection:
        return await fetch_past(connection, entity_of(model), columns, states, moment)
