"""Objects with an id of their own, and the ids by which clients name them.

A global id is the type's name and the row's UUID: `Record:018f…`. Inputs take it, or the bare UUID that a client made.
"""

from typing import Any
from uuid import UUID

import strawberry

from models.errors import InvalidInputError
from models.row import Row
from schema.context import ResolveInfo
from schema.field import derived, resolved

Path = tuple[str | int, ...]


def global_id(row: Row, type_name: str) -> strawberry.ID:
    """Return the row's global id."""
    return strawberry.ID(f"{type_name}:{row['id']}")


@strawberry.interface(description="An object that can be fetched again by its id.")
class Node:
    @resolved("The id of the object, the same for everyone who sees it.", derived())
    def id(src: strawberry.Parent[Any], info: strawberry.Info) -> strawberry.ID:
        raw: ResolveInfo = info._raw_info
        return global_id(src, raw.parent_type.name)


def parse_id(value: str, type_name: str, *, at: Path) -> UUID:
    """Return the UUID of an id that is to name a `type_name`.

    Raises:
        InvalidInputError: it is no id, or the id of something else.
    """
    named, _, bare = value.rpartition(":")
    if named and named != type_name:
        raise InvalidInputError(f"Expected the id of a {type_name}.", field=at)
    try:
        return UUID(bare) if len(bare) == 36 else UUID(hex="")
    except ValueError as error:
        raise InvalidInputError(f"Expected the id of a {type_name}.", field=at) from error


def split_id(value: str, *, at: Path) -> tuple[str, UUID]:
    """Return the type's name and the UUID of a global id.

    Raises:
        InvalidInputError: it is no global id. An unknown type is not told from an unknown row.
    """
    named, _, bare = value.rpartition(":")
    if not named:
        raise InvalidInputError("Expected a global id such as Record:….", field=at)
    return named, parse_id(bare, named, at=at)
