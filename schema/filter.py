"""Filters: typed operators on columns, put together by and, or and not. A filter finds a row only where every column
that it touches may be read.

A filter input's fields are named as the columns they touch; the sweep holds them to it. On an encrypted column there
is equality alone, where the column is declared to be searchable: it is compared by its blind index, and what was asked
for goes no further than here. Who so looks for a value is in the read log, whatever is found.
"""

from dataclasses import dataclass, field, is_dataclass
from datetime import date, datetime
from functools import cache
from typing import Annotated, Any, Final, Generic, TypeVar, cast
from uuid import UUID

import strawberry
from graphql import GraphQLInputField
from strawberry.annotation import StrawberryAnnotation
from strawberry.utils.str_converters import to_camel_case

from auth.permission import Permission
from auth.policy import require
from auth.scope import ORGANIZATION
from models.base import WardModel
from models.condition import And, Condition, Criterion, Not, Operator, Or, Words
from models.errors import InvalidInputError
from models.inventory import Column, Entity, entity_of
from models.searching import indexes_of, load_index_key
from models.touching import Touched
from resolvers.checking import Path, require_storable, require_text
from schema.context import RequestContext, context_of
from schema.field import types_of_rows
from schema.node import parse_id, split_id

DEMANDED: Final = "fieldward-demanded"
"""The key, in a field's metadata, of the permission that filtering by it takes in the whole organization."""

FILTERS: dict[str, type[WardModel]] = {}
"""Every filter input, by its GraphQL name, with the table whose columns it names."""

_COMBINING: Final = {
    "and_": "All of these hold. Expected one at least.",
    "or_": "One of these holds at least. Expected one at least, each with a comparison.",
    "not_": (
        "This does not hold. What has no value meets no comparison but for absence, so it is found by what is not one."
    ),
}
COMBINING: Final = frozenset(_COMBINING)
"""The fields of every filter input, by their names in the code, that name no column."""
MOST_COMPARISONS: Final = 50
"""Comparisons of one filter, all levels together."""
DEEPEST: Final = 5
"""Levels of and, or and not."""
LONGEST_SEARCH: Final = 200
"""Characters of a search."""

E = TypeVar("E")

Search = Annotated[
    str | None,
    strawberry.argument(
        description='Those in whose plain texts these words stand, whatever the case: `weir "left bank"` for a word and'
        " a phrase, `weir or sluice` for either, `weir -upper` without one. Whole words; a blank text asks for nothing."
    ),
]


def _operator(description: str, name: str | None = None) -> Any:
    return strawberry.field(name=name, default=strawberry.UNSET, description=description)


_EQUAL = "Equal; null asks for absence."
_NOT_EQUAL = "Not equal, or absent; null asks for presence."
_ONE_OF = "One of these."
_NONE_OF = "None of these, or absent."
_ABSENT = "Whether there is no value."


@strawberry.input(description="Compares a text, letter by letter.")
class TextFilter:
    eq: str | None = _operator(_EQUAL)
    ne: str | None = _operator(_NOT_EQUAL)
    in_: list[str] | None = _operator(_ONE_OF, "in")
    not_in: list[str] | None = _operator(_NONE_OF)
    starts_with: str | None = _operator("Begins with this.")
    ends_with: str | None = _operator("Ends with this.")
    contains: str | None = _operator("Has this in it.")
    is_null: bool | None = _operator(_ABSENT)
    ignore_case: bool | None = _operator("Whether the comparisons beside it take capital and small letters as equal.")


@strawberry.input(description="Compares a text that is stored encrypted: for equality alone, whatever case and blanks.")
class ExactTextFilter:
    eq: str | None = _operator(_EQUAL)
    ne: str | None = _operator(_NOT_EQUAL)
    in_: list[str] | None = _operator(_ONE_OF, "in")
    not_in: list[str] | None = _operator(_NONE_OF)
    is_null: bool | None = _operator(_ABSENT)


@strawberry.input(description="Compares a moment.")
class TimeFilter:
    eq: datetime | None = _operator("At this moment; null asks for absence.")
    ne: datetime | None = _operator("Not at this moment, or absent; null asks for presence.")
    gt: datetime | None = _operator("After this moment.")
    gte: datetime | None = _operator("At this moment or later.")
    lt: datetime | None = _operator("Before this moment.")
    lte: datetime | None = _operator("At this moment or before.")
    is_null: bool | None = _operator(_ABSENT)


@strawberry.input(description="Compares a day.")
class DateFilter:
    eq: date | None = _operator("On this day; null asks for absence.")
    ne: date | None = _operator("Not on this day, or absent; null asks for presence.")
    gt: date | None = _operator("After this day.")
    gte: date | None = _operator("On this day or later.")
    lt: date | None = _operator("Before this day.")
    lte: date | None = _operator("On this day or before.")
    is_null: bool | None = _operator(_ABSENT)


@strawberry.input(description="Compares a number.")
class NumberFilter:
    eq: float | None = _operator(_EQUAL)
    ne: float | None = _operator(_NOT_EQUAL)
    gt: float | None = _operator("More than this.")
    gte: float | None = _operator("This or more.")
    lt: float | None = _operator("Less than this.")
    lte: float | None = _operator("This or less.")
    is_null: bool | None = _operator(_ABSENT)


@strawberry.input(description="Compares the id of another object.")
class IdFilter:
    eq: strawberry.ID | None = _operator("This one; null asks for absence.")
    ne: strawberry.ID | None = _operator("Another, or absent; null asks for presence.")
    in_: list[strawberry.ID] | None = _operator(_ONE_OF, "in")
    not_in: list[strawberry.ID] | None = _operator(_NONE_OF)
    is_null: bool | None = _operator(_ABSENT)


@strawberry.input(description="Compares an id that is no object's, such as a request's.")
class UuidFilter:
    eq: UUID | None = _operator("This one; null asks for absence.")
    ne: UUID | None = _operator("Another, or absent; null asks for presence.")
    in_: list[UUID] | None = _operator(_ONE_OF, "in")
    not_in: list[UUID] | None = _operator(_NONE_OF)
    is_null: bool | None = _operator(_ABSENT)


@strawberry.input(description="Compares a value of an enum.")
class EnumFilter(Generic[E]):
    """The operators of every enum; each has an input of its own, over `EnumFilter[…]`."""

    eq: E | None = _operator(_EQUAL)
    ne: E | None = _operator(_NOT_EQUAL)
    in_: list[E] | None = _operator(_ONE_OF, "in")
    not_in: list[E] | None = _operator(_NONE_OF)
    is_null: bool | None = _operator(_ABSENT)


@dataclass(frozen=True, slots=True)
class _Means:
    """What an operator of the contract asks for: a comparison, or that it does not hold."""

    operator: Operator
    negated: bool = False
    takes_null: bool = False


_OPERATORS: Final = {
    "eq": _Means(Operator.EQUALS, takes_null=True),
    "ne": _Means(Operator.EQUALS, negated=True, takes_null=True),
    "in_": _Means(Operator.IN),
    "not_in": _Means(Operator.IN, negated=True),
    "gt": _Means(Operator.MORE_THAN),
    "gte": _Means(Operator.AT_LEAST),
    "lt": _Means(Operator.LESS_THAN),
    "lte": _Means(Operator.AT_MOST),
    "starts_with": _Means(Operator.STARTS_WITH),
    "ends_with": _Means(Operator.ENDS_WITH),
    "contains": _Means(Operator.CONTAINS),
    "has": _Means(Operator.TOUCHES),
}


def demanding(permission: Permission) -> dict[str, Any]:
    """Return the metadata of a filter's field that takes a permission in the organization besides its column's.

    What names people, or their devices, by its column's declaration takes the reading of those without being told.
    """
    return {DEMANDED: permission}


def demanded_of(field: GraphQLInputField, column: Column) -> Permission | None:
    """Return the permission that the field, which compares the column, takes in the whole organization, if any."""
    definition: Any = field.extensions.get("strawberry-definition")
    return (_demanded(definition.metadata) if definition is not None else None) or column.names


def filters(model: type[WardModel]) -> Any:
    """Declare that the input's fields are columns of the table, and give it and, or and not beside them."""

    def declare(cls: type[Any]) -> type[Any]:
        FILTERS[cls.__name__] = model
        body: dict[str, Any] = {
            one: strawberry.field(name=one.rstrip("_"), default=None, description=text)
            for one, text in _COMBINING.items()
        }
        body["__annotations__"] = dict.fromkeys(_COMBINING, Any)
        body["__module__"] = cls.__module__
        definition: Any = getattr(cls, "__strawberry_definition__")  # noqa: B009  (set by strawberry.input)
        made = strawberry.input(description=definition.description)(type(cls.__name__, (cls,), body))
        for one in getattr(made, "__strawberry_definition__").fields:  # noqa: B009
            # Of its own kind, which there was not when its fields were declared.
            if one.python_name in _COMBINING:
                kind: Any = made if one.python_name == "not_" else list[made]  # type: ignore[valid-type]
                one.type_annotation = StrawberryAnnotation(kind | None)
        return made

    return declare


async def conditions_of(
    info: strawberry.Info,
    given: Any,
    model: type[WardModel],
    *,
    links: dict[str, str] | None = None,
    argument: str = "filter",
) -> list[Criterion]:
    """Return the conditions that a filter input asks for. None asks for nothing.

    links: by column, the GraphQL type whose ids the column holds.
    argument: the name under which the client gave the input.

    Raises:
        InvalidInputError: an id is none, an encrypted column is searched for what it could not hold, or the filter is
            too deep, has too many comparisons, or has a part in which nothing is compared.
        ForbiddenError: it compares what takes a permission that the viewer lacks in the organization.
        UnavailableError: an encrypted column is searched, its key is not in memory, and the keystore is away.
    """
    if given is None or given is strawberry.UNSET or not is_dataclass(given):
        return []
    return await _Reading(context_of(info), entity_of(model), links or {}).criteria(given, (argument,), level=0)


def words_of(search: str | None, *, argument: str = "search") -> list[Criterion]:
    """Return the condition that a search asks for; a blank one asks for nothing.

    Raises:
        InvalidInputError: it is too long.
    """
    if search is None or not search.strip():
        return []
    if len(search) > LONGEST_SEARCH:
        raise InvalidInputError(f"Expected at most {LONGEST_SEARCH} characters.", field=(argument,))
    require_storable(search, at=(argument,))
    return [Words(search)]


@dataclass(slots=True)
class _Reading:
    """A filter being read. Nothing is asked of the database before all of it is read."""

    context: RequestContext
    entity: Entity
    links: dict[str, str]
    comparisons: int = field(default=0)

    async def criteria(self, given: Any, at: Path, *, level: int) -> list[Criterion]:
        """Return what one input asks for."""
        if level > DEEPEST:
            raise InvalidInputError(f"Expected at most {DEEPEST} levels of and, or and not.", field=at)
        found: list[Criterion] = []
        for name, shown_name, demanded in _names_of(cast(Any, type(given))):
            value = getattr(given, name)
            if value is None or value is strawberry.UNSET:
                continue
            if name in COMBINING:
                found.append(await self._combined(name, value, (*at, shown_name), level=level + 1))
                continue
            column = self.entity.columns[name]
            if (takes := demanded or column.names) is not None:
                # Beside somebody's id, or that of a device of theirs, a pseudonym would be none: who may not see the
                # people, or the devices, can't ask by one.
                require(self.context.viewer, takes, ORGANIZATION, field=(*at, shown_name))
            found += await self._comparisons(column, value, (*at, shown_name))
        return found

    async def _combined(self, name: str, given: Any, at: Path, *, level: int) -> Criterion:
        if name == "not_":
            return Not(And(tuple(await self._compared(given, at, level=level))))
        if not given:
            raise InvalidInputError("Expected one at least.", field=at)
        if name == "or_":
            parts = [await self._compared(one, (*at, place), level=level) for place, one in enumerate(given)]
            return Or(tuple(And(tuple(part)) for part in parts))
        every = [await self.criteria(one, (*at, place), level=level) for place, one in enumerate(given)]
        return And(tuple(one for part in every for one in part))

    async def _compared(self, given: Any, at: Path, *, level: int) -> list[Criterion]:
        """Return what an input asks for where nothing would ask for all there is, or for none of it."""
        before = self.comparisons
        found = await self.criteria(given, at, level=level)
        if self.comparisons == before:
            raise InvalidInputError("Expected a comparison.", field=at)
        return found

    async def _comparisons(self, column: Column, operators: Any, at: Path) -> list[Criterion]:
        found: list[Criterion] = []
        ignores_case = getattr(operators, "ignore_case", None) is True
        for name, means in _OPERATORS.items():
            value = getattr(operators, name, strawberry.UNSET)
            if value is strawberry.UNSET or (value is None and not means.takes_null):
                continue
            self._count(at)
            value = await self._compared_value(column, means.operator, value, (*at, to_camel_case(name.rstrip("_"))))
            one = Condition(column.name, means.operator, value, ignores_case and value is not None)
            found.append(Not(one) if means.negated else one)
        is_null = getattr(operators, "is_null", None)
        if isinstance(is_null, bool):
            self._count(at)
            absent = Condition(column.name, Operator.EQUALS, None)
            found.append(absent if is_null else Not(absent))
        return found

    def _count(self, at: Path) -> None:
        self.comparisons += 1
        if self.comparisons > MOST_COMPARISONS:
            raise InvalidInputError(f"Expected at most {MOST_COMPARISONS} comparisons.", field=at)

    async def _compared_value(self, column: Column, operator: Operator, value: Any, at: Path) -> Any:
        if operator is Operator.TOUCHES:
            type_name, row_id = split_id(value, at=at)
            model = types_of_rows().get(type_name)
            # Of what is no type there is nothing, as of a row that is not there.
            return Touched(entity_of(model).name if model is not None else "", row_id)
        if column.search is not None and value is not None:
            return await _searched(self.context, column, value, at=at)
        if column.name in self.links:
            return _ids(value, self.links[column.name], at=at)
        return value


@cache
def _names_of(filter_type: Any) -> tuple[tuple[str, str, Permission | None], ...]:
    """Return a filter's fields: their names in the code, which are the columns', and in the API, and what they take."""
    definition: Any = getattr(filter_type, "__strawberry_definition__")  # noqa: B009  (set by strawberry.input)
    return tuple(
        (one.python_name, one.graphql_name or to_camel_case(one.python_name), _demanded(one.metadata))
        for one in definition.fields
    )


def _demanded(metadata: Any) -> Permission | None:
    demanded = metadata.get(DEMANDED)
    return demanded if isinstance(demanded, Permission) else None


async def _searched(context: RequestContext, column: Column, value: Any, *, at: Path) -> Any:
    """Return the blind index of the text that an encrypted column is searched for, or of each of them."""
    texts: list[str] = value if isinstance(value, list) else [value]
    for place, text in enumerate(texts):
        where: Path = (*at, place) if isinstance(value, list) else at
        require_text(text, at=where, longest=column.max_length or 0)
    viewer = context.viewer
    await load_index_key(viewer.organization_id)
    if column.guard in viewer.access.reach:
        # Who may read the column nowhere finds no row by it, and learns nothing.
        context.read_log.note_search(column)
    found = indexes_of(column, viewer.organization_id, texts)
    return found if isinstance(value, list) else found[0]


def _ids(value: Any, type_name: str, *, at: Path) -> Any:
    if isinstance(value, list):
        return [parse_id(one, type_name, at=at) for one in value]
    return None if value is None else parse_id(value, type_name, at=at)
