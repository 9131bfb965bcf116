"""How lists are ordered: by the keys that a client names, one after the other."""

from collections.abc import Sequence
from typing import Any, Final

import strawberry

from models.errors import InvalidInputError
from models.order import Order
from schema.connection import OrderDirection

MOST_KEYS: Final = 4
"""Keys of one order."""


def which_way() -> Any:
    """Declare the field of an order that says which way."""
    return strawberry.field(default=OrderDirection.ASC, description="Which way. What has no value comes last, always.")


def order_of(given: Sequence[Any] | None, default: Order, *, argument: str = "orderBy") -> Order:
    """Return the order that a client asks for, or the default where it asks for none.

    given: inputs with a `field`, whose value names a column, and a `direction`.
    argument: the name under which the client gave them.

    Raises:
        InvalidInputError: there are too many keys, or one of them twice.
    """
    if not given:
        return default
    if len(given) > MOST_KEYS:
        raise InvalidInputError(f"Expected at most {MOST_KEYS} keys.", field=(argument,))
    order: Order | None = None
    seen: set[str] = set()
    for place, key in reversed(list(enumerate(given))):
        column = str(key.field.value)
        if column in seen:
            raise InvalidInputError("Expected each key once.", field=(argument, place, "field"))
        seen.add(column)
        order = Order(column, key.direction is OrderDirection.DESC, order)
    return order or default
