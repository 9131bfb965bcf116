"""Inputs with canaries in them: in every field that writes something guarded, or of a wrong type in any field.

Which fields those are follows from the schema and the inventory: `schema/written.py` names the column, and the column
says whether it is sealed. A reason is always kept sealed. Of inputs that write nothing, every text counts as guarded.
"""

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLScalarType,
    get_named_type,
    get_nullable_type,
    is_list_type,
)

from models.inventory import entity_of
from schema.written import WRITTEN
from tests.support.arguments import UNKNOWN
from tests.support.canary import Canaries

Input = dict[str, Any]
Place = tuple[str | int, ...]

REASON: Final = "reason"
PASSWORD: Final = "password"
"""What one signs by. It stays as it is: a canary of its own where it is right, and no signature where it is not."""
EMAIL: Final = "email"
DOMAIN: Final = "@acme.example"
"""With it, a canary is an address."""
LONG: Final = 1000
"""How often a canary is repeated to be longer than any column takes."""


def guarded(kind: GraphQLInputObjectType) -> list[str]:
    """Return the names of an input's fields whose texts nobody but who may read them is to see."""
    written = WRITTEN.get(kind.name)
    found = []
    for name, one in kind.fields.items():
        named = get_named_type(one.type)
        if not (isinstance(named, GraphQLScalarType) and named.name == "String"):
            continue
        if name == REASON or written is None:
            found.append(name)
            continue
        column = written.columns.get(one.extensions["strawberry-definition"].python_name)
        if column is not None and entity_of(written.model).columns[column].is_sealed:
            found.append(name)
    return found


def with_canaries(
    kind: GraphQLInputObjectType, given: Mapping[str, Any], make: Callable[[str], str], at: str = ""
) -> Input:
    """Return an input with what is made in each guarded field but the password, whatever stood there.

    make: from the field's path.
    """
    changed: Input = dict(given)
    for name, one in kind.fields.items():
        named = get_named_type(one.type)
        if isinstance(named, GraphQLInputObjectType) and changed.get(name) is not None:
            inner = changed[name]
            changed[name] = (
                [with_canaries(named, each, make, f"{at}{name}.") for each in inner]
                if isinstance(inner, list)
                else with_canaries(named, inner, make, f"{at}{name}.")
            )
    for name in guarded(kind):
        if name != PASSWORD:
            changed[name] = f"{make(f'{at}{name}')}{DOMAIN if name == EMAIL else ''}"
    return changed


def too_long(canary: str) -> str:
    """Return a text that is longer than any column, made of the canary."""
    return canary * LONG


def leaves(kind: GraphQLInputObjectType, given: Mapping[str, Any], at: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Yield each leaf that the input has or could have, as its path and its type."""
    for name, one in kind.fields.items():
        named = get_named_type(one.type)
        if isinstance(named, GraphQLInputObjectType) and given.get(name):
            inner = given[name]
            first = inner[0] if isinstance(inner, list) else inner
            yield from leaves(named, first, (*at, name, 0) if isinstance(inner, list) else (*at, name))
        yield (*at, name), one.type


def wrongly_typed(type_: Any, canary: str) -> list[Any]:
    """Return values with a canary in them that are not of the type."""
    named = get_named_type(type_)
    is_text = isinstance(named, GraphQLScalarType) and named.name == "String"
    if is_list_type(get_nullable_type(type_)) or isinstance(named, GraphQLInputObjectType):
        # A text alone is a list of one text.
        return [*([] if is_text else [canary]), [[canary]], {canary: canary}]
    if is_text:
        return [[canary], {"text": canary}]
    # A text is no number, no date, no name of an enum, and no id of anything.
    return [canary, [canary]]


def replaced(given: Mapping[str, Any], place: Place, value: Any) -> Input:
    """Return the input with another value at the place."""
    changed: Any = copy.deepcopy(dict(given))
    inner = changed
    for part in place[:-1]:
        inner = inner[part]
    inner[place[-1]] = value
    return dict(changed)


def of_nothing(given: Mapping[str, Any]) -> Input | None:
    """Return the input with ids of nothing that is there in place of each id that it names; None if there are none."""
    ids = {
        name: f"{value.partition(':')[0]}:{UNKNOWN}"
        for name, value in given.items()
        if (name == "id" or name.endswith("Id")) and isinstance(value, str) and ":" in value
    }
    return {**given, **ids} if ids else None


def literal_of(type_: Any, value: Any) -> str:
    """Write an input as it stands in an operation's text, enums without quotes."""
    named = get_named_type(type_)
    if isinstance(value, Mapping):
        fields = named.fields if isinstance(named, GraphQLInputObjectType) else {}
        inner = (
            f"{name}: {literal_of(fields[name].type, one) if name in fields else json.dumps(one)}"
            for name, one in value.items()
        )
        return f"{{{', '.join(inner)}}}"
    if isinstance(value, list):
        return f"[{', '.join(literal_of(named, one) for one in value)}]"
    if isinstance(named, GraphQLEnumType) and value in named.values:
        return str(value)
    return json.dumps(value)


def planting(canaries: Canaries, where: str) -> Callable[[str], str]:
    """Return what plants a canary for each path. where: what is done with the input."""
    return lambda path: canaries.plant(f"{where}: {path}")
