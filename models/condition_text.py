"""Conditions as text and back: for what is asked now and looked for later, by a job.

What is kept names columns and holds what they are compared with, blind indexes among it; whoever keeps it seals it.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any, Final
from uuid import UUID

import orjson

from models.condition import And, Condition, Criterion, Not, Operator, Or, Words

_KINDS: Final[Mapping[str, type[Any]]] = {one.__name__: one for one in (Condition, Words, And, Or, Not)}
"""What conditions are made of. Another kind of them is named here."""

_READ: Final[Mapping[str, Callable[[Any], Any]]] = {
    "uuid": UUID,
    "time": datetime.fromisoformat,
    "day": date.fromisoformat,
    "bytes": base64.b64decode,
    "operator": Operator,
}


def text_of_conditions(conditions: Sequence[Criterion]) -> str:
    """Return the conditions as a text that `conditions_of_text` reads.

    Raises:
        TypeError: something in them is of a kind that is not named here.
    """
    return orjson.dumps([_plain(one) for one in conditions]).decode()


def conditions_of_text(text: str) -> list[Criterion]:
    """Return the conditions that `text_of_conditions` made the text of."""
    return [_made(one) for one in orjson.loads(text)]


def text_of_request(conditions: Sequence[Criterion], of_parts: Sequence[Criterion] = ()) -> str | None:
    """Return what rows are asked for as a text that `request_of_text` reads; None where all are.

    of_parts: what holds of the rows that belong to them, of which the others are left out.
    """
    if of_parts:
        return orjson.dumps({"own": text_of_conditions(conditions), "parts": text_of_conditions(of_parts)}).decode()
    return text_of_conditions(conditions) if conditions else None


def request_of_text(text: str | None) -> tuple[list[Criterion], list[Criterion]]:
    """Return the conditions of rows, and of what belongs to them, that `text_of_request` made the text of."""
    said = orjson.loads(text) if text is not None else []
    if isinstance(said, dict):
        return conditions_of_text(said["own"]), conditions_of_text(said["parts"])
    return [_made(one) for one in said], []


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Operator):
        return {"operator": value.value}
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, str):
        return value
    if isinstance(value, UUID):
        return {"uuid": str(value)}
    if isinstance(value, datetime):
        return {"time": value.astimezone(UTC).isoformat()}
    if isinstance(value, date):
        return {"day": value.isoformat()}
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, tuple):
        return {"parts": [_plain(one) for one in value]}
    if is_dataclass(value) and type(value).__name__ in _KINDS:
        return {type(value).__name__: {one.name: _plain(getattr(value, one.name)) for one in fields(value)}}
    raise TypeError(f"A condition holds a {type(value).__name__}, which has no text.")


def _made(value: Any) -> Any:
    if isinstance(value, list):
        return [_made(one) for one in value]
    if not isinstance(value, dict):
        return value
    ((kind, held),) = value.items()
    if kind == "parts":
        return tuple(_made(one) for one in held)
    if kind in _READ:
        return _READ[kind](held)
    return _KINDS[kind](**{name: _made(one) for name, one in held.items()})
