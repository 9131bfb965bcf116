"""How records and sites keep where they are: the one place where that is decided, whoever writes it.

In a project whose locations are sensitive the place is sealed, and its cell stands in its plain columns; in any other
the plain columns hold the place.

Who makes a record or a site says where, even if they read nothing confidential: they were there. A place that is there
already is replaced by who reads it; a record's also by those who made all of it so far: they know what they said.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from auth.policy import require
from auth.scope import Scope
from models.encryption.codec import Point
from models.encryption.column import load_keys_for
from models.errors import InvalidInputError
from models.inventory import entity_of
from models.place import cell_of
from models.record import Record
from models.site import Site
from resolvers.change import Change
from resolvers.checking import input_name

LOCATION: Final = frozenset({"latitude", "longitude"})
"""The columns by which it is said where."""

Placed: TypeAlias = Record | Site
"""A row that has a place, in a project that says whether places are sensitive."""


def location_columns(exact: Point, *, is_sensitive: bool) -> dict[str, Any]:
    """Return the columns of a record or a site that keep its place."""
    kept = cell_of(exact) if is_sensitive else exact
    return {
        "latitude": kept.latitude,
        "longitude": kept.longitude,
        "exact_location": exact if is_sensitive and exact else None,
        "location_is_coarse": is_sensitive,
    }


def require_whole(place: Point) -> None:
    """Raise `InvalidInputError`, naming the degrees that are missing, unless a place is said by both or by neither."""
    if place and (place.latitude is None or place.longitude is None):
        missing = "latitude" if place.latitude is None else "longitude"
        raise InvalidInputError("Expected latitude and longitude together, or neither.", field=("input", missing))


async def moved(
    change: Change,
    row: Placed,
    values: Mapping[str, Any],
    scope: Scope,
    *,
    is_sensitive: bool,
    is_all_theirs: bool = False,
) -> dict[str, Any]:
    """Return the columns that keep the place of a row, of which one or both degrees are given anew.

    is_all_theirs: whether nobody but who asks had a hand in the row.

    Raises:
        ForbiddenError: it is sensitive, there already, and neither the viewer's to read nor all of their own making.
        InvalidInputError: of the two degrees one is left.
    """
    now = await exact_location(row)
    if now and (is_sensitive or row.location_is_coarse) and not is_all_theirs:
        guard = entity_of(type(row)).columns["exact_location"].guard
        if guard is not None:
            given = next(name for name in sorted(LOCATION) if name in values)
            require(change.viewer, guard, scope, field=("input", input_name(given)))
    then = Point(values.get("latitude", now.latitude), values.get("longitude", now.longitude))
    require_whole(then)
    return location_columns(then, is_sensitive=is_sensitive)


async def exact_location(row: Placed) -> Point:
    """Return where a record or a site is, however that is kept."""
    if not row.location_is_coarse:
        return Point(row.latitude, row.longitude)
    await load_keys_for([row], "exact_location")
    return row.exact_location or Point(None, None)
