"""What is kept of a mutation's answer, and the payload that is made of it when the mutation is sent again.

Kept are the id of the row that it was about, and of all else ids, numbers and moments alone: no text, which may be a
secret that is shown once, and nothing of the row, which its viewer may read otherwise by now; but for what is declared
to be said again.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from graphql import GraphQLField, GraphQLObjectType, get_named_type, get_nullable_type, is_leaf_type

from resolvers.idempotency import Kept, ShownOnceError
from schema.context import RequestContext
from schema.cookie import Header

REPLAYED: Final[Header] = (b"idempotency-replayed", b"true")
"""The header of an answer in which something was done before."""

SAID_AGAIN: Final = "fieldward-said-again"
"""The key, in a payload's field's metadata, of whether a text is said again: it is no secret, and of no row."""

_KEPT: Final = frozenset({"ID", "Int", "Boolean", "DateTime"})
_ERRORS: Final = "errors"


def kept_of(answer: Any, payload_type: Any) -> Kept:
    """Return what is kept of a mutation's answer.

    answer: what its resolver returned. payload_type: the GraphQL type of it.
    """
    row_id: UUID | None = getattr(answer, "row_id", None)
    values: dict[str, Any] = {}
    forgotten: list[str] = []
    for name, field in _said(payload_type):
        value = getattr(answer, name, None)
        if value is None:
            continue
        if get_named_type(field.type).name in _KEPT or _is_said_again(field):
            values[name] = list(value) if isinstance(value, tuple) else value
        else:
            forgotten.append(name)
    return {"row": None if row_id is None else str(row_id), "values": values, "forgotten": forgotten}


def _is_said_again(field: GraphQLField) -> bool:
    return bool(field.extensions["strawberry-definition"].metadata.get(SAID_AGAIN))


class Replay:
    """The payload of a mutation that was done before. What was shown once can't be had from it."""

    row = None
    errors = ()

    def __init__(self, kept: Kept, payload_type: Any) -> None:
        self.row_id = None if kept["row"] is None else UUID(kept["row"])
        moments = {name for name, field in _said(payload_type) if get_named_type(field.type).name == "DateTime"}
        self._forgotten = frozenset(kept["forgotten"])
        for name, value in kept["values"].items():
            setattr(self, name, datetime.fromisoformat(value) if name in moments else value)

    def __getattr__(self, name: str) -> Any:
        if name in self._forgotten:
            raise ShownOnceError("This was shown with the first answer to this Idempotency-Key, and is not kept.")
        raise AttributeError(name)


def replayed(kept: Kept, payload_type: Any, context: RequestContext) -> Replay:
    """Return the payload of a mutation that was done before, and have the answer's head say so."""
    if REPLAYED not in context.headers:
        context.headers.append(REPLAYED)
    return Replay(kept, payload_type)


def _said(payload_type: Any) -> Iterator[tuple[str, GraphQLField]]:
    """Yield what of a payload is no row and no list of errors, by its name in the code."""
    kind = get_nullable_type(payload_type)
    if not isinstance(kind, GraphQLObjectType):
        raise TypeError("A mutation answers an object.")
    for field in kind.fields.values():
        name = str(field.extensions["strawberry-definition"].python_name)
        if name != _ERRORS and is_leaf_type(get_named_type(field.type)):
            yield name, field
