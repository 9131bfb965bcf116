"""Refusing what a project does without: a field that is switched off is neither asked nor kept."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from models.errors import InvalidInputError
from models.inventory import Entity, switched_columns
from resolvers.checking import Path, input_name

IS_OFF = "is switched off in this project"


def require_switched_on(entity: Entity, off: Collection[str], values: Mapping[str, Any], *, at: Path) -> None:
    """Raise `InvalidInputError`, naming the field, where a value is given of a field that is switched off.

    off: what the project switched off. values: by column name; None is nothing given. at: the path of the input object.
    """
    for name in given_of_off(entity, off, values):
        raise InvalidInputError(f"Expected none: {input_name(name)} {IS_OFF}.", field=(*at, input_name(name)))


def given_of_off(entity: Entity, off: Collection[str], values: Mapping[str, Any]) -> Iterable[str]:
    """Return the columns of which a value is given though they are switched off."""
    return [one.name for one in switched_columns(entity, off) if values.get(one.name) is not None]


def emptied(entity: Entity, off: Collection[str], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values without those of fields that are switched off."""
    return {**values, **{one.name: None for one in switched_columns(entity, off) if one.name in values}}
