"""Places: exact, or as the cell of a fixed grid that says roughly where.

The grid is of decimal degrees, and a place is generalized to its cell, never displaced at random: so the Global
Biodiversity Information Facility's guide has it (Chapman AD, 2020, Current Best Practices for Generalizing Sensitive
Species Occurrence Data, https://doi.org/10.15468/doc-5jp4-5g10). Displaced at random, the same place would be told
again and again, and its average is the place itself.

A cell is a tenth of a degree high and wide: some 11 km from south to north, and from west to east 11 km at the equator,
5.6 km at 60 degrees, and less towards the poles.
"""

from collections.abc import Callable, Mapping
from decimal import ROUND_FLOOR, Decimal
from types import MappingProxyType
from typing import Final

from models.encryption.codec import Point

CELLS_IN_A_DEGREE: Final = 10

AWAITING_ITS_CELL: Final = (
    "(not {row}.location_is_coarse and {row}.project_id = any (array("
    "select w.id from project w where w.locations_rewriting and w.locations_are_sensitive)))"
)
"""The rows of a table with places that still hold the exact place where it became sensitive. Found by the project and
not in the row, so that it counts for all of them from the moment at which it was decided; a statement looks once which
projects those are."""


def cell_of(place: Point) -> Point:
    """Return the centre of the cell in which the place lies."""
    latitude, longitude = place.latitude, place.longitude
    return Point(
        None if latitude is None else cell_latitude(latitude),
        None if longitude is None else cell_longitude(longitude),
    )


def cell_latitude(degrees: float) -> float:
    """Return the latitude of the centre of the cell. A pole belongs to the last row of cells before it."""
    return _centre(min(_cell(degrees), 90 * CELLS_IN_A_DEGREE - 1))


def cell_longitude(degrees: float) -> float:
    """Return the longitude of the centre of the cell. 180 and -180 are the same line, and so in the same cell."""
    return _centre(-180 * CELLS_IN_A_DEGREE if degrees == 180 else _cell(degrees))


CELLS: Final[Mapping[str, Callable[[float], float]]] = MappingProxyType(
    {"latitude": cell_latitude, "longitude": cell_longitude}
)
"""What coarsens a coordinate, by its column."""


def _cell(degrees: float) -> int:
    # By the digits that people read, not by the binary number next to them: 0.3 is in the cell that begins at 0.3.
    return int((Decimal(repr(float(degrees))) * CELLS_IN_A_DEGREE).to_integral_value(ROUND_FLOOR))


def _centre(cell: int) -> float:
    return (2 * cell + 1) / (2 * CELLS_IN_A_DEGREE)
