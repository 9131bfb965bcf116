"""When something was, in a table of somebody's own: dates in their order, times of a day, time zones by name."""

import re
from datetime import UTC, date, datetime, time, timedelta, timezone
from enum import StrEnum
from functools import cache, lru_cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from resolvers.wqx_table import CellError
from resolvers.wqx_value import YEARS, ZONES, Moment


class DateOrder(StrEnum):
    """In which order year, month and day stand: the year with four digits, a hyphen, a slash or a point between."""

    YMD = "YMD"
    DMY = "DMY"
    MDY = "MDY"


NO_ZONE: Final = "UTC"
"""The zone of a mapping that has none of its own."""

_ANYWHERE: Final = frozenset({"UTC", "GMT", "Z"})
"""Of WQX's codes, those that mean the same everywhere. The others are abbreviations of the United States."""
_SEPARATED: Final = r"(?P<{}>[0-9]{{{}}})[-/.](?P<{}>[0-9]{{{}}})[-/.](?P<{}>[0-9]{{{}}})"
_DATES: Final = {
    DateOrder.YMD: re.compile(_SEPARATED.format("year", "4", "month", "1,2", "day", "1,2")),
    DateOrder.DMY: re.compile(_SEPARATED.format("day", "1,2", "month", "1,2", "year", "4")),
    DateOrder.MDY: re.compile(_SEPARATED.format("month", "1,2", "day", "1,2", "year", "4")),
}
_TIME: Final = re.compile(
    r"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]+))?)?"
    r"(?:\s*(?P<half>[AaPp])\.?[Mm]\.?)?\s*(?P<offset>Z|[+-][0-9]{2}:?[0-9]{2})?"
)
_OFFSET: Final = re.compile(r"(?:UTC|GMT)?([+-])([0-9]{2}):?([0-9]{2})?")
_LONGEST: Final = 64
_FINEST: Final = 6
"""Digits of a second's fraction that the database keeps."""


@cache
def known_zones() -> frozenset[str]:
    """Return the IANA names of all time zones."""
    return frozenset(available_timezones())


def moment_of(
    day_text: str,
    time_text: str | None,
    zone_text: str,
    *,
    order: DateOrder,
    zone: ZoneInfo,
    names: tuple[str, str, str],
) -> Moment:
    """Return the moment that a row names.

    day_text: the date; with its time behind it where time_text is None. zone_text: the row's own zone, by its IANA
    name, a code of WQX or an offset; empty for `zone`, which is the mapping's. names: of the columns, for what is wrong
    in them.

    Without a time it is midnight UTC, as in results of the portal. An offset behind the time may stand beside the row's
    own zone where they agree.

    Raises:
        CellError: it is no moment, or none that is certain.
    """
    day_name, time_name, zone_name = names
    if time_text is None:
        day_text, _, time_text = re.sub(r"[T ]", " ", day_text, count=1).partition(" ")
        time_name = day_name
    day = _day(day_text.strip(), order, day_name)
    own_zone = _zone(zone_text, zone_name) if zone_text else None
    time_text = time_text.strip()
    if not time_text:
        return Moment(datetime.combine(day, time(), UTC), day, day_text.strip()[:_LONGEST])
    clock, offset = _clock(time_text, time_name)
    reported = " ".join(filter(None, (day_text.strip(), time_text, zone_text)))
    if len(reported) > _LONGEST:
        raise CellError(time_name, f"is longer than {_LONGEST} characters", reported)
    local = datetime.combine(day, clock)
    # One that the offset behind the time bears out is no guess.
    if own_zone != offset and not _is_read_alike(zone_text, local, zone):
        what = "is an abbreviation that is not of the mapping's time zone: write an offset, or a name such as"
        raise CellError(zone_name, f"{what} America/Chicago", zone_text)
    if offset is None:
        return Moment(_placed(local, own_zone or zone, time_name, time_text), day, reported)
    at = local.replace(tzinfo=offset).astimezone(UTC)
    if own_zone is not None and at.astimezone(own_zone).replace(tzinfo=None) != local:
        raise CellError(time_name, "says another offset than the row's time zone has then", time_text)
    return Moment(at, day, reported)


def is_date_alone(text: str, day: date) -> bool:
    """Return whether a text is a date without a time, and in one of the orders this day."""
    found = (pattern.fullmatch(text) for pattern in _DATES.values())
    said = ((int(one["year"]), int(one["month"]), int(one["day"])) for one in found if one is not None)
    return (day.year, day.month, day.day) in said


def _placed(local: datetime, zone: ZoneInfo | timezone, name: str, text: str) -> datetime:
    first, second = (local.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() != second.utcoffset():
        # A time that is skipped comes back as another; one that comes twice, as itself.
        is_skipped = first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != local
        what = "is a time that there was not" if is_skipped else "is a time that there was twice"
        raise CellError(name, f"{what} on that day in its time zone: say the offset", text)
    return first.astimezone(UTC)


def _day(text: str, order: DateOrder, name: str) -> date:
    if not text:
        raise CellError(name, "is missing")
    match = _DATES[order].fullmatch(text)
    if match is None:
        raise CellError(name, f"is not a date in the order {order} with a year of four digits", text)
    year, month, day = (int(match[part]) for part in ("year", "month", "day"))
    if year not in YEARS:
        raise CellError(name, f"is not between the years {YEARS[0]} and {YEARS[-1]}", text)
    try:
        return date(year, month, day)
    except ValueError:
        raise CellError(name, "is not a day of the calendar", text) from None


def _clock(text: str, name: str) -> tuple[time, timezone | None]:
    match = _TIME.fullmatch(text)
    if match is None:
        raise CellError(name, "is not a time as HH:MM or HH:MM:SS", text)
    hour = int(match["hour"])
    if match["half"]:
        if not 1 <= hour <= 12:
            raise CellError(name, "is not a time of the day", text)
        hour = hour % 12 + (12 if match["half"].lower() == "p" else 0)
    fraction = match["fraction"] or ""
    if fraction[_FINEST:].strip("0"):
        # Cut off, two readings would be one.
        raise CellError(name, "has more than six digits behind the second", text)
    try:
        clock = time(hour, int(match["minute"]), int(match["second"] or 0), int(fraction[:_FINEST].ljust(_FINEST, "0")))
    except ValueError:
        raise CellError(name, "is not a time of the day", text) from None
    offset = match["offset"]
    return clock, None if offset is None else _offset("+00:00" if offset == "Z" else offset, name, text)


def _zone(text: str, name: str) -> ZoneInfo | timezone:
    if text.upper() in ZONES:
        return timezone(timedelta(hours=ZONES[text.upper()]))
    if text in known_zones():
        return ZoneInfo(text)
    return _offset(text, name, text)


def _is_read_alike(text: str, local: datetime, zone: ZoneInfo) -> bool:
    """Return whether a row's own zone is, where the mapping's is, what it is in the United States: CST is China's, too.

    An abbreviation is where the mapping's zone has its offset then, or at another time of that year, as clocks that are
    left on standard time do; and does not call another offset so, as Cuba's CDT is the CST of the United States.
    """
    code = text.upper()
    if code not in ZONES or code in _ANYWHERE or zone.key == NO_ZONE:
        return True
    length = timedelta(hours=ZONES[code])
    then = {_called(local.replace(tzinfo=zone, fold=fold)) for fold in (0, 1)}
    known = _offsets_of(zone, local.year) | then
    has_it = any(offset == length for _, offset in known)
    return has_it and all(offset == length for name, offset in known if name == code)


@lru_cache(maxsize=1024)
def _offsets_of(zone: ZoneInfo, year: int) -> frozenset[tuple[str, timedelta | None]]:
    """Return the offsets that a zone has in a year, each with what it is called."""
    noon = datetime(year, 1, 1, 12, tzinfo=zone)
    return frozenset(_called(noon + timedelta(days=number)) for number in range(365))


def _called(at: datetime) -> tuple[str, timedelta | None]:
    return (at.tzname() or "").upper(), at.utcoffset()


def _offset(offset: str, name: str, text: str) -> timezone:
    match = _OFFSET.fullmatch(offset)
    if match is not None:
        length = timedelta(hours=int(match[2]), minutes=int(match[3] or 0))
        if length <= timedelta(hours=14) and int(match[3] or 0) < 60:
            return timezone(-length if match[1] == "-" else length)
    raise CellError(name, "is not a time zone that is known", text)
