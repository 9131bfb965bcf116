"""Moments and days that PostgreSQL keeps as they are.

asyncpg takes the first and the last of Python's for -infinity and infinity. What is stored as those is no moment any
more for whoever reads it as a text, as the trail does and what judges roles.
"""

from datetime import UTC, date, datetime


def finite_moment(moment: datetime) -> datetime:
    """Return the moment, of whatever offset. Raises `ValueError` for the first and the last there are."""
    if moment in (_FIRST, _LAST):
        raise ValueError("Expected a time after the first moment of the year 1, and before the last of 9999.")
    return moment


def finite_day(day: date) -> date:
    """Return the day. Raises `ValueError` for the first and the last there are."""
    if day in (date.min, date.max):
        raise ValueError("Expected a date between 0001-01-02 and 9999-12-30.")
    return day


_FIRST, _LAST = (one.replace(tzinfo=UTC) for one in (datetime.min, datetime.max))
