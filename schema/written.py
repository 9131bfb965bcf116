"""Which columns an input writes, declared on the input: for the sweep, and for the matrix of who may do what.

The use case decides who may write which of them (`resolvers/writing.py`); this says what there is to decide.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import strawberry

from models.base import WardModel

SUBJECT: Final = frozenset({"id", "expected_version", "reason", "done_at", "meaning", "password"})
"""The input fields that write nothing of their own: which row, at which version, why, when by the device's own clock;
and of a signature what it means and by what the signer proves who they are."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Written:
    """The table that an input is of, and by the input's field in the code the column that it writes.

    beside: fields that write no column of this table.
    """

    model: type[WardModel]
    columns: Mapping[str, str]
    beside: frozenset[str]


WRITTEN: Final[dict[str, Written]] = {}
"""Every input that writes, by its GraphQL name. Filled while the schema's modules are imported, read-only after."""


def writes(model: type[WardModel], *, beside: tuple[str, ...] = (), **renamed: str) -> Callable[[type[T]], type[T]]:
    """Declare that the input's fields are columns of the table.

    beside: those that are not. renamed: by field, the column that has another name.
    """

    def declare(cls: type[T]) -> type[T]:
        definition: Any = getattr(cls, "__strawberry_definition__")  # noqa: B009  (set by strawberry.input)
        names = [one.python_name for one in definition.fields]
        WRITTEN[cls.__name__] = Written(
            model,
            {name: renamed.get(name, name) for name in names if name not in SUBJECT and name not in beside},
            frozenset(beside),
        )
        return cls

    return declare


def written_values(given: Any) -> dict[str, Any]:
    """Return what an input writes, by column: the fields that were given, nulls among them."""
    declared = WRITTEN[type(given).__name__]
    values = {column: getattr(given, name) for name, column in declared.columns.items()}
    return {column: value for column, value in values.items() if value is not strawberry.UNSET}
