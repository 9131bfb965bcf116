"""Aggregates: which columns groups are told apart by, and what is computed of which column.

A type of groups says for each of its fields which column it touches and how; nothing else of a column is grouped or
computed. The sweep holds each field to that: a plain column, and null where it is guarded. A row counts only where the
viewer may read every column that the operation touches, in the row's own scope (`models/aggregation.py`).

What a client asks for decides what is touched: the keys, the filters, and the fields that it selects.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import fields as fields_of
from enum import Enum
from typing import Annotated, Any, Final, TypeVar

import strawberry
from strawberry.utils.str_converters import to_camel_case

from models.aggregation import Aggregation, Bucket, Function, Group, Joined, Key, Measure, fetch_groups, is_moment
from models.base import WardModel
from models.condition import Criterion
from models.errors import InvalidInputError
from models.inventory import Column, entity_of
from schema.context import ResolveInfo
from schema.selection import names_of

MOST_GROUPS: Final = 1000
DECLARATION: Final = "fieldward-aggregate"
"""The key of a field's declaration in its metadata."""

GroupBucket = Annotated[
    Bucket | None,
    strawberry.argument(
        description="The spans of time that COLLECTED_AT is grouped by, in UTC; given with that key alone."
    ),
]


@dataclass(frozen=True, slots=True)
class AggregateField:
    """What a field of a group shows: with `function` None a key, else what is computed of the column.

    column: None counts the rows themselves, which touches no column.
    links_to: the GraphQL type whose ids the column holds.
    within: the column that must be a key where this field is asked for, since values that differ in it can't be
        computed with each other.
    """

    model: type[WardModel]
    column: str | None
    function: Function | None
    links_to: str | None = None
    within: str | None = None

    @property
    def stored(self) -> Column | None:
        """The column in the inventory; None where there is none, or none is touched."""
        return entity_of(self.model).columns.get(self.column) if self.column is not None else None


@dataclass(frozen=True, slots=True)
class Groups:
    """What a type of groups is made of: whose rows, and by name in the code what each field shows.

    parent: the table whose rows these belong to, and the column that names them. It gives keys and takes conditions;
        nothing is computed of it.
    are_asked_for: whether clients say what groups are told apart by, in an enum of the type's name and `Key`.
    """

    model: type[WardModel]
    fields: Mapping[str, AggregateField]
    parent: tuple[type[WardModel], str] | None = None
    are_asked_for: bool = True

    @property
    def keys(self) -> Mapping[str, AggregateField]:
        """The fields that are keys."""
        return {name: one for name, one in self.fields.items() if one.function is None}

    def reaches(self, one: AggregateField) -> bool:
        """Return whether a field of these groups can show this: its column is the rows' own, or a key of the parent."""
        is_of_parent = self.parent is not None and one.model is self.parent[0]
        return one.model is self.model or (is_of_parent and one.function is None)


AGGREGATES: Final[dict[str, Groups]] = {}
"""Every type of groups, by its GraphQL name. Filled while the schema's modules are imported, read-only after."""

T = TypeVar("T")


def grouped_columns(model: type[WardModel]) -> frozenset[str]:
    """Return the table's columns that some type of groups is keyed by."""
    return frozenset(one.column for one in _declared_on(model) if one.column and one.function is None)


def aggregated_columns(model: type[WardModel]) -> frozenset[str]:
    """Return the table's columns of which some type of groups computes something."""
    return frozenset(one.column for one in _declared_on(model) if one.column and one.function is not None)


def key(description: str, column: str, *, of: type[WardModel], links_to: str | None = None) -> Any:
    """Declare a field that shows what groups are told apart by: null where that was not asked for."""
    return _field(f"{description} Null if not grouped by.", AggregateField(of, column, None, links_to))


def told_apart_by(description: str, column: str, *, of: type[WardModel], links_to: str | None = None) -> Any:
    """Declare a field that shows what groups are always told apart by."""
    return _field(description, AggregateField(of, column, None, links_to))


def measure(
    description: str, function: Function, column: str | None = None, *, of: type[WardModel], within: str | None = None
) -> Any:
    """Declare a field that shows what is computed of each group."""
    return _field(description, AggregateField(of, column, function, within=within))


def part(description: str, *, of: type[WardModel]) -> Any:
    """Declare a field that touches no column: how a group was made, or the smaller groups that it consists of."""
    return measure(description, Function.COUNT, of=of)


def groups_of(
    model: type[WardModel], *, parent: tuple[type[WardModel], str] | None = None, are_asked_for: bool = True
) -> Callable[[type[T]], type[T]]:
    """Declare that the type's objects are groups of the table's rows, keyed by their parent's columns as well.

    are_asked_for: whether clients say by what; where not, every key is a group's.
    """

    def declare(cls: type[T]) -> type[T]:
        definition: Any = getattr(cls, "__strawberry_definition__")  # noqa: B009  (set by strawberry.type)
        said = {one.python_name: one.metadata.get(DECLARATION) for one in definition.fields}
        fields = {name: one for name, one in said.items() if isinstance(one, AggregateField)}
        AGGREGATES[cls.__name__] = Groups(model, fields, parent, are_asked_for)
        return cls

    return declare


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client asked for: keys, each an enum's value that names the key's field, and the bucket of moments."""

    by: Sequence[Enum]
    bucket: Bucket | None


async def groups(
    info: strawberry.Info,
    cls: type[T],
    asked: Asked,
    *,
    conditions: Sequence[Criterion],
    of_parent: Sequence[Criterion] = (),
) -> list[T]:
    """Return the groups that the viewer may see, in the order of the keys asked for. One statement.

    of_parent: conditions on the rows' parents, which are joined only where a key or a condition touches them.

    Raises:
        InvalidInputError: the keys and the bucket don't go together, or make too many groups.
    """
    raw: ResolveInfo = info._raw_info
    declared = AGGREGATES[cls.__name__]
    keys = {str(one.value): declared.keys[str(one.value)] for one in asked.by}
    measures = {name: declared.fields[name] for name in _selected_measures(raw, declared)}
    _require_sensible(asked, keys, measures)
    made_of = [_key(declared, one, asked.bucket) for one in keys.values()]
    parent = None
    if declared.parent is not None and (of_parent or any(one.of_parent for one in made_of)):
        model, column = declared.parent
        parent = Joined(entity_of(model), column, of_parent)
    aggregation = Aggregation(
        entity=entity_of(declared.model),
        keys=made_of,
        measures=[Measure(one.function, one.column) for one in measures.values() if one.function is not None],
        limit=MOST_GROUPS + 1,
        conditions=conditions,
        parent=parent,
    )
    async with raw.context.reader.use() as connection:
        found = await fetch_groups(connection, raw.context.viewer, aggregation)
    if len(found) > MOST_GROUPS:
        raise InvalidInputError(
            f"Expected at most {MOST_GROUPS} groups. Narrow the filter, or group by less or by longer spans.",
            field=("by",),
        )
    return [_shown(cls, group, keys, measures) for group in found]


def _require_sensible(asked: Asked, keys: Mapping[str, AggregateField], measures: Mapping[str, AggregateField]) -> None:
    """Raise `InvalidInputError` where what was asked for has no meaning, or one that would mislead."""
    if len(keys) < len(asked.by):
        raise InvalidInputError("Expected each key once.", field=("by",))
    has_moments = any(_is_moment(one) for one in keys.values())
    if has_moments and asked.bucket is None:
        raise InvalidInputError("Expected a bucket, by which moments are grouped.", field=("bucket",))
    if asked.bucket is not None and not has_moments:
        raise InvalidInputError("Expected no bucket where no moment is grouped by.", field=("bucket",))
    for name, one in measures.items():
        if one.within is not None and one.within not in keys:
            raise InvalidInputError(
                f"Expected {one.within.upper()} among the keys: {to_camel_case(name)} is not computed across it.",
                field=("by",),
            )


def _selected_measures(info: ResolveInfo, declared: Groups) -> Iterator[str]:
    """Yield the measures that the client selects, and always the count of rows, which touches no column."""
    names = names_of(info)
    for name, one in declared.fields.items():
        if one.function is not None and (one.column is None or to_camel_case(name) in names):
            yield name


def _key(declared: Groups, one: AggregateField, bucket: Bucket | None) -> Key:
    if one.column is None:
        raise LookupError("A key is a column.")
    return Key(one.column, bucket if _is_moment(one) else None, of_parent=one.model is not declared.model)


def _is_moment(one: AggregateField) -> bool:
    stored = one.stored
    return stored is not None and is_moment(stored)


def _shown(cls: type[T], group: Group, keys: Mapping[str, AggregateField], measures: Iterable[str]) -> T:
    given: dict[str, Any] = {one.name: None for one in fields_of(cls)}  # type: ignore[arg-type]  # strawberry makes it one
    for (name, one), value in zip(keys.items(), group.keys, strict=True):
        given[name] = f"{one.links_to}:{value}" if one.links_to and value is not None else value
    given.update(zip(measures, group.measures, strict=True))
    return cls(**given)


def _field(description: str, declared: AggregateField) -> Any:
    return strawberry.field(description=description, metadata={DECLARATION: declared})


def _declared_on(model: type[WardModel]) -> Iterator[AggregateField]:
    return (one for groups in AGGREGATES.values() for one in groups.fields.values() if one.model is model)
