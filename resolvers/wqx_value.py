"""What a cell of a Water Quality Exchange (WQX) result says: a number, a moment, a method, an identity.

Promises: nothing is guessed. A text that is not clearly a number gives none; a moment that cannot be placed is a
`CellError` that names its column. Pure: no clock, no randomness.

Standards: WQX time zone codes; ISO 8601 dates; RFC 9562 for the shape of the ids.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from hashlib import sha256
from types import MappingProxyType
from typing import Final
from uuid import UUID

from resolvers.wqx_table import CellError, Column

YEARS: Final = range(1800, 2101)
"""The years of a collection that are believed; anything else is a slip of the pen (0214 for 2014, year 0)."""

_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_NUMBER_LENGTH: Final = 40
_LARGEST: Final = Decimal("1e100")
_SMALLEST: Final = Decimal("1e-100")

_ISO_DATE: Final = re.compile(r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})")
_US_DATE: Final = re.compile(r"(?P<month>[0-9]{1,2})/(?P<day>[0-9]{1,2})/(?P<year>[0-9]{4})")
_TIME: Final = re.compile(r"([0-9]{2}):([0-9]{2})(?::([0-9]{2}))?")

# Hours from UTC. GST is Guam's (the WQX code for what others call ChST), not the Gulf's.
ZONES: Final[Mapping[str, int]] = MappingProxyType(
    {
        "UTC": 0,
        "GMT": 0,
        "Z": 0,
        "ADT": -3,
        "AST": -4,
        "EDT": -4,
        "EST": -5,
        "CDT": -5,
        "CST": -6,
        "MDT": -6,
        "MST": -7,
        "PDT": -7,
        "PST": -8,
        "AKDT": -8,
        "AKST": -9,
        "HDT": -9,
        "HADT": -9,
        "HST": -10,
        "HAST": -10,
        "SST": -11,
        "GST": 10,
        "CHST": 10,
    }
)

# The two agree within about two metres, which is less than a place is known by; any other may be a hundred off.
_GOOD_DATUMS: Final = frozenset(
    {
        *("WGS84", "WGS1984", "WORLDGEODETICSYSTEM1984", "EPSG4326"),
        *("NAD83", "NAD1983", "NORTHAMERICANDATUM1983", "NORTHAMERICANDATUMOF1983", "EPSG4269"),
    }
)

_CONTENT_BITS: Final = 30
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Moment:
    """When a sample was taken: `at` in UTC, `day` as reported, and the words it was reported in.

    Two are equal when they are the same instant, whatever the words.
    """

    at: datetime
    day: date = field(compare=False)
    reported: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class Position:
    """Where, in degrees of WGS 84 or NAD 83; `column` is where the latitude was read."""

    latitude: Decimal
    longitude: Decimal
    column: str = field(compare=False)


def number(text: str) -> Decimal | None:
    """Return the number that the text is, or None if it is anything else.

    A number is decimal digits with at most one point and at most one exponent of three digits, up to 40 characters,
    0 or of a magnitude from 1e-100 to below 1e100. `<0.5`, `1,000`, `ND`, `NaN` and `0x1F` are none.
    """
    text = text.strip()
    if len(text) > _NUMBER_LENGTH or not _NUMBER.fullmatch(text):
        return None
    value = Decimal(text)
    return value if not value or _SMALLEST <= abs(value) < _LARGEST else None


def moment(date_text: str, time_text: str, zone_text: str) -> Moment:
    """Return the moment that date, time and zone name, as the file gives them.

    Without a time it is midnight UTC and `reported` is the date alone, whatever the zone says.

    Raises:
        CellError: naming the date, the time or the zone, in this order.
    """
    date_text, time_text, zone_text = date_text.strip(), time_text.strip(), zone_text.strip()
    day = _day(date_text)
    if not time_text:
        return Moment(datetime.combine(day, time(), UTC), day, date_text)
    clock = _clock(time_text)
    if not zone_text:
        raise CellError(Column.ZONE, "is missing beside a time")
    if zone_text.upper() not in ZONES:
        raise CellError(Column.ZONE, "is not a time zone code that is known", zone_text)
    local = datetime.combine(day, clock, timezone(timedelta(hours=ZONES[zone_text.upper()])))
    return Moment(local.astimezone(UTC), day, f"{date_text} {time_text} {zone_text}")


def position(latitude: str, longitude: str, *, columns: tuple[Column, Column]) -> Position | None:
    """Return the place that the two cells of `columns` name, or None where both are empty.

    Raises:
        CellError: naming the cell that is empty beside a full one, is no number, or is beyond the globe.
    """
    if not latitude.strip() and not longitude.strip():
        return None
    north, east = (
        _degrees(text, bound, column)
        for text, bound, column in zip((latitude, longitude), (90, 180), columns, strict=True)
    )
    return Position(north, east, columns[0])


def is_good_datum(text: str) -> bool:
    """Return whether degrees in a datum can be taken as they are: it is WGS 84 or NAD 83, however that is written."""
    return "".join(filter(str.isalnum, text)).upper() in _GOOD_DATUMS


def method(context: str, identifier: str, name: str) -> str | None:
    """Return a method in one line, `APHA 2510: Conductivity in Water`; None where nothing is said of it.

    A part that only repeats another is left out.
    """
    context, identifier, name = context.strip(), identifier.strip(), name.strip()
    head = " ".join(dict.fromkeys(filter(None, (context, identifier))))
    if not head or name.casefold() in (context.casefold(), identifier.casefold()):
        return head or name or None
    return f"{head}: {name}" if name else head


def digest(parts: Iterable[str | bytes]) -> bytes:
    """Return the SHA-256 of the parts, each with its length in front so that none can run into the next."""
    told: list[bytes] = []
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        told += (len(data).to_bytes(8, "big"), data)
    return sha256(b"".join(told)).digest()


def stable_id(at: datetime, parts: Iterable[str | bytes]) -> UUID:
    """Return a UUID of version 7 that is the same whenever moment and parts are.

    The 48 bits of time are the milliseconds of `at` since 1970, 0 before then; the other 74 bits, random in RFC 9562,
    are the first of the digest of the parts, and of the moment where those milliseconds do not say it: before 1970, and
    where it has a part of one.
    """
    milliseconds = max(0, (at - _EPOCH) // timedelta(milliseconds=1))
    if at < _EPOCH or at.microsecond % 1000:
        parts = (*parts, at.astimezone(UTC).isoformat())
    rest = int.from_bytes(digest(parts)[:10], "big") >> 6
    high, low = rest >> 62, rest & ((1 << 62) - 1)
    return UUID(int=milliseconds << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low)


def result_id(at: datetime, identity: Iterable[str | bytes], content: Iterable[str | bytes]) -> UUID:
    """Return a UUID of version 7 that is the same whenever all three are; of one identity, its beginning is.

    After the time come 44 bits of the digest of the identity, and 30 of the content's. So what has the same identity is
    known by its id alone (`identity_of`), among the results of one record, of which there are hundreds at the most; and
    that two results of a tenant get one id is as improbable as ever.
    """
    told = digest(identity)
    which = int.from_bytes(digest((told, *content))[:4], "big") >> (32 - _CONTENT_BITS)
    return UUID(int=identity_of(stable_id(at, (told,))) << _CONTENT_BITS | which)


def identity_of(made: UUID) -> int:
    """Return what ids of one identity have in common."""
    return made.int >> _CONTENT_BITS


def bounds_of(made: UUID) -> tuple[UUID, UUID]:
    """Return the least and the greatest of all ids with the moment of that one."""
    least = made.int >> 80 << 80
    return UUID(int=least), UUID(int=least | (1 << 80) - 1)


def _degrees(text: str, bound: int, column: Column) -> Decimal:
    if not text.strip():
        raise CellError(column, "is missing beside the other half of the place")
    degrees = number(text)
    if degrees is None or abs(degrees) > bound:
        raise CellError(column, f"is not a number of degrees from -{bound} to {bound}", text)
    return degrees


def _day(text: str) -> date:
    if not text:
        raise CellError(Column.DATE, "is missing")
    match = _ISO_DATE.fullmatch(text) or _US_DATE.fullmatch(text)
    if match is None:
        raise CellError(Column.DATE, "is not a date as YYYY-MM-DD or MM/DD/YYYY", text)
    if int(match["year"]) not in YEARS:
        raise CellError(Column.DATE, f"is not between the years {YEARS[0]} and {YEARS[-1]}", text)
    try:
        return date(int(match["year"]), int(match["month"]), int(match["day"]))
    except ValueError:
        raise CellError(Column.DATE, "is not a day of the calendar", text) from None


def _clock(text: str) -> time:
    match = _TIME.fullmatch(text)
    if match is None:
        raise CellError(Column.TIME, "is not a time as HH:MM or HH:MM:SS", text)
    try:
        hour, minute, second = (int(part or 0) for part in match.groups())
        return time(hour, minute, second)
    except ValueError:
        raise CellError(Column.TIME, "is not a time of the day", text) from None
