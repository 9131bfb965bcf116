"""Values of an archive's rows, as JSON has them, made what their columns take.

An archive may have been written by anybody: what is of another kind than the column, too long or too large for it, is
refused, and never made to fit.
"""

import base64
from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from tortoise import fields
from tortoise.contrib.postgres.fields import ArrayField
from tortoise.fields.data import CharEnumFieldInstance

from models.encryption.codec import Place, Point
from models.encryption.column import EncryptedField
from models.finite import finite_day, finite_moment
from models.inventory import Column, Entity
from resolvers.checking import require_fit, require_storable


def column_value(entity: Entity, column: Column, value: Any) -> Any:
    """Return a value of the archive as the column takes it.

    Raises:
        ValueError, TypeError, LookupError, InvalidInputError: the column takes no such value.
    """
    kind = column.field
    if value is None:
        # Of who was erased there is nothing left to read; how such a row is written, its table says.
        if not column.is_nullable and not isinstance(kind, EncryptedField):
            raise ValueError("Expected a value.")
        return None
    made = _sealed(kind, value) if isinstance(kind, EncryptedField) else _plain(kind, value)
    if isinstance(made, str):
        require_storable(made, at=())
        if column.max_length is not None and len(made) > column.max_length:
            raise ValueError("Expected a shorter text.")
    elif isinstance(made, float):
        require_fit(entity, {column.name: made}, at=())
    return made


def _sealed(kind: EncryptedField[Any], value: Any) -> Any:
    if kind.codec is Place:
        return Point(*(None if value[name] is None else _number(value[name]) for name in ("latitude", "longitude")))
    text = _of(str, value)
    return text if kind.codec.python_type is str else kind.codec.decode(text)


def _plain(kind: Any, value: Any) -> Any:
    if isinstance(kind, ArrayField):
        of_ids = str(kind.element_type).lower() == "uuid"
        return [UUID(_of(str, one)) if of_ids else _of(str, one) for one in _of(list, value)]
    if isinstance(kind, CharEnumFieldInstance):
        return kind.enum_type(_of(str, value))
    for of, read in _READ:
        if isinstance(kind, of):
            return read(value)
    raise TypeError(f"Nothing is known of how a {type(kind).__name__} is read.")


def _of(kind: type[Any], value: Any) -> Any:
    """Return the value. Raises `TypeError` where it is of another kind: to Python, a truth is a number."""
    if type(value) is not kind:
        raise TypeError(f"Expected a {kind.__name__}.")
    return value


def _number(value: Any) -> float:
    return float(value if type(value) is int else _of(float, value))


def _integer(value: Any, bits: int) -> int:
    if not -(1 << (bits - 1)) <= _of(int, value) < 1 << (bits - 1):
        raise ValueError("Expected a smaller number.")
    return int(value)


def _moment(value: Any) -> datetime:
    moment = datetime.fromisoformat(_of(str, value))
    if moment.utcoffset() is None:
        raise ValueError("Expected a moment with its offset.")
    return finite_moment(moment)


_READ: Final[Sequence[tuple[type[Any], Callable[[Any], Any]]]] = (
    (fields.UUIDField, lambda value: UUID(_of(str, value))),
    (fields.DatetimeField, _moment),
    (fields.DateField, lambda value: finite_day(date.fromisoformat(_of(str, value)))),
    (fields.BinaryField, lambda value: base64.b64decode(_of(str, value), validate=True)),
    (fields.BooleanField, lambda value: _of(bool, value)),
    (fields.BigIntField, lambda value: _integer(value, 64)),
    (fields.IntField, lambda value: _integer(value, 32)),
    (fields.FloatField, _number),
    (fields.CharField, lambda value: _of(str, value)),
)
