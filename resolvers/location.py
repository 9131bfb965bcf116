"""How a record keeps where it was made: the one place where that is decided, whoever writes it.

In a project whose locations are sensitive the place is sealed, and its cell stands in its plain columns; in any other
the plain columns hold the place.

Who makes a record says where, even if they read nothing confidential: they were there. A place that is there already
is replaced by who reads it, and by nobody's hands but those that made all of the record so far: they know what they
said.
"""

from collections.abc import Mapping
from typing import Any, Final

from auth.policy import require
from auth.scope import Scope
from models.encryption.codec import Point
from models.encryption.column import load_keys_for
from models.inventory import entity_of
from models.place import cell_of
from models.record import Record
from resolvers.change import Change
from resolvers.checking import input_name

LOCATION: Final = frozenset({"latitude", "longitude"})
"""The columns by which it is said where."""


def location_columns(exact: Point, *, is_sensitive: bool) -> dict[str, Any]:
    """Return the columns of a record that keep its place."""
    kept = cell_of(exact) if is_sensitive else exact
    return {
        "latitude": kept.latitude,
        "longitude": kept.longitude,
        "exact_location": exact if is_sensitive and exact else None,
        "location_is_coarse": is_sensitive,
    }


async def moved(
    change: Change, record: Record, values: Mapping[str, Any], scope: Scope, *, is_sensitive: bool
) -> dict[str, Any]:
    """Return the columns that keep the place of a record, of which one or both degrees are given anew.

    Raises:
        ForbiddenError: it is sensitive, there already, and neither the viewer's to read nor all of their own making.
    """
    now = await exact_location(record)
    if (
        now
        and (is_sensitive or record.location_is_coarse)
        and not change.viewer.hands.issuperset(record.contributor_ids)
    ):
        guard = entity_of(Record).columns["exact_location"].guard
        if guard is not None:
            given = next(name for name in sorted(LOCATION) if name in values)
            require(change.viewer, guard, scope, field=("input", input_name(given)))
    then = Point(values.get("latitude", now.latitude), values.get("longitude", now.longitude))
    return location_columns(then, is_sensitive=is_sensitive)


async def exact_location(record: Record) -> Point:
    """Return where a record was made, however it is kept."""
    if not record.location_is_coarse:
        return Point(record.latitude, record.longitude)
    await load_keys_for([record], "exact_location")
    return record.exact_location or Point(None, None)
