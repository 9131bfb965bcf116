"""Whether values fit the columns they are meant for: length, characters, range. Read from the columns' declarations."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from models.errors import InvalidInputError
from models.inventory import Column, Entity

Path = tuple[str | int, ...]

EARLIEST = datetime(1800, 1, 1, tzinfo=UTC)
"""Before the oldest series of environmental observations that anyone digitizes."""
CLOCK_TOLERANCE = timedelta(days=1)
"""How far a device's clock, or its time zone, may run ahead."""
EARLIEST_CLOCK = datetime(2000, 1, 1, tzinfo=UTC)
"""No device that sends to this service has a clock that was right before."""
LONGEST_REASON = 2000
"""Characters of a reason, as its columns take them."""

_RANGES: Mapping[str, tuple[float, float]] = {"latitude": (-90.0, 90.0), "longitude": (-180.0, 180.0)}


def require_fit(entity: Entity, values: Mapping[str, Any], *, at: Path) -> None:
    """Raise `InvalidInputError`, naming the input's path, unless every value fits its column.

    values: by column name. at: the path of the input object.
    """
    for column_name, value in values.items():
        _require_fit(entity.columns[column_name], value, (*at, input_name(column_name)))


@cache
def input_name(column_name: str) -> str:
    """Return the name of a column's field in an input: the same, in camel case."""
    first, *rest = column_name.split("_")
    return first + "".join(part.title() for part in rest)


def require_text(value: str, *, at: Path, longest: int) -> None:
    """Raise `InvalidInputError` unless the text is not blank, not too long, and made of storable characters."""
    if not value.strip():
        raise InvalidInputError("Expected a text that is not blank.", field=at)
    if len(value) > longest:
        raise InvalidInputError(f"Expected at most {longest} characters, got {len(value)}.", field=at)
    require_storable(value, at=at)


def require_address(value: str, *, at: Path) -> str:
    """Return an e-mail address without the blanks around it. Raises `InvalidInputError` where it is none."""
    address = value.strip()
    if address.count("@") != 1 or address.startswith("@") or address.endswith("@"):
        raise InvalidInputError("Expected an e-mail address.", field=at)
    return address


def require_storable(value: str, *, at: Path) -> None:
    """Raise `InvalidInputError` where the text holds a NUL or half of a surrogate pair: no database keeps those."""
    if "\x00" in value:
        raise InvalidInputError("Expected a text without NUL characters.", field=at)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInputError("Expected a text without lone surrogates.", field=at) from None


def require_time(value: datetime, *, now: datetime, at: Path) -> None:
    """Raise `InvalidInputError` unless the time of an event lies between `EARLIEST` and tomorrow."""
    if not EARLIEST <= value <= now + CLOCK_TOLERANCE:
        raise InvalidInputError("Expected a time between the year 1800 and now.", field=at)


def require_clock(value: datetime, *, now: datetime, at: Path = ("input", "doneAt")) -> None:
    """Raise `InvalidInputError` unless a device's clock can have shown the time: from `EARLIEST_CLOCK` to tomorrow."""
    if not EARLIEST_CLOCK <= value <= now + CLOCK_TOLERANCE:
        raise InvalidInputError("Expected a time between the year 2000 and now, by the device's clock.", field=at)


def require_reason(reason: str | None, *, at: Path = ("input", "reason"), what: str = "this change") -> str:
    """Return the reason without its outer blanks. Raises `InvalidInputError` where none was given.

    what: what it is that must say why.
    """
    if reason is None or not reason.strip():
        raise InvalidInputError(f"Expected a reason: {what} must say why.", field=at)
    require_text(reason, at=at, longest=LONGEST_REASON)
    return reason.strip()


def require_some(values: Sequence[Any], *, at: Path, most: int) -> None:
    """Raise `InvalidInputError` where a list is longer than allowed."""
    if len(values) > most:
        raise InvalidInputError(f"Expected at most {most} entries, got {len(values)}.", field=at)


def _require_fit(column: Column, value: Any, at: Path) -> None:
    if value is None:
        if not column.is_nullable:
            raise InvalidInputError("Expected a value, got none.", field=at)
    elif isinstance(value, str) and column.max_length is not None:
        if column.is_nullable and not value:
            return
        require_text(value, at=at, longest=column.max_length)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidInputError("Expected a finite number.", field=at)
        low, high = _RANGES.get(column.name, (-math.inf, math.inf))
        if not low <= value <= high:
            raise InvalidInputError(f"Expected a number from {low:g} to {high:g}.", field=at)
