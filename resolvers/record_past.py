"""What a record was at a moment, its measurements with it, folded from the trail."""

from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Final
from uuid import UUID

import asyncpg
import orjson

from auth.principal import Viewer
from models.condition import Condition, Operator
from models.inventory import entity_of
from models.listing import Listing, fetch_listing
from models.measurement import Measurement
from models.order import Order
from models.past import State, Told, fold
from models.record import Record
from models.record_version import RecordVersion

_ALL: Final = 2**31
"""Versions: what was left out of them would be missing in what the record was."""


@dataclass(frozen=True, slots=True)
class PastState:
    """A record as it was, as its table would hold it, and its measurements in the order of the report.

    is_sensitive: whether its project's locations are, today.
    """

    record: State = field(repr=False)
    measurements: list[State] = field(repr=False)
    is_sensitive: bool


async def record_as_of(
    connection: asyncpg.Connection, viewer: Viewer, record_id: UUID, moment: datetime
) -> PastState | None:
    """Return what the record was; None where the viewer does not see the record that there is today, or where there was
    none then. A transaction counts from when it began: it may have been committed a little later.
    """
    listing = Listing(
        entity=entity_of(RecordVersion),
        columns=("changes", "locations_are_sensitive"),
        order=Order("place"),
        limit=_ALL,
        conditions=[Condition("since", Operator.AT_MOST, moment)],
        parent_column="record_id",
        parents=[record_id],
    )
    versions = await fetch_listing(connection, viewer, listing)
    told = chain.from_iterable(orjson.loads(version["changes"]) for version in versions)
    rows = fold(Told(*one) for one in told)
    records = rows.get(entity_of(Record).name)
    if not records:
        return None
    measurements = rows.get(entity_of(Measurement).name, [])
    measurements.sort(key=lambda one: (one["position"], one["id"]))
    return PastState(records[0], measurements, versions[-1]["locations_are_sensitive"])
