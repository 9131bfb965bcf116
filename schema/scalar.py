"""Scalars whose parsing we are strict about. Parsers never quote what they were given: it may be a secret."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import strawberry
from strawberry.types.scalar import ScalarDefinition

from models.finite import finite_day, finite_moment


def _parse_time(value: Any) -> datetime:
    if not isinstance(value, str) or len(value) > 40:
        raise ValueError("Expected a time such as 2024-05-31T14:30:00Z.")
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError("Expected a time such as 2024-05-31T14:30:00Z.") from error
    if parsed.tzinfo is None:
        raise ValueError("Expected a time with its offset, such as 2024-05-31T14:30:00Z.")
    try:
        return finite_moment(parsed.astimezone(UTC))
    except OverflowError as error:
        raise ValueError("Expected a time within the years 1 to 9999.") from error


def _parse_date(value: Any) -> date:
    if not isinstance(value, str):
        raise ValueError("Expected a date such as 2024-05-31.")
    try:
        parsed = date.fromisoformat(value)
    except ValueError as error:
        raise ValueError("Expected a date such as 2024-05-31.") from error
    return finite_day(parsed)


SCALARS: Mapping[object, ScalarDefinition] = {
    datetime: strawberry.scalar(
        name="DateTime",
        description=(
            "A moment in RFC 3339 form, with its offset: 2024-05-31T14:30:00Z. Answers are in UTC."
            " The first moment of the year 1 and the last of 9999 are not taken."
        ),
        serialize=lambda value: value.isoformat(),
        parse_value=_parse_time,
    ),
    date: strawberry.scalar(
        name="Date",
        description="A day in RFC 3339 form: 2024-05-31. 0001-01-01 and 9999-12-31 are not taken.",
        serialize=lambda value: value.isoformat(),
        parse_value=_parse_date,
    ),
}
"""By Python type, for the schema's scalar map."""
