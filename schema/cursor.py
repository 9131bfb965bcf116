"""Cursors: the place of a row in an order, sealed so that nobody reads or makes one.

A cursor holds the order and the row's place in it. It opens only for the person or program and the tenant that it was
made for, and only for the same order, so that it tells nothing and leads nowhere else.
"""

import secrets
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from auth.principal import Viewer
from models.encryption.blind_index import cipher_for
from models.encryption.keyring import Keyring
from models.encryption.owner import index_owner
from models.errors import InvalidInputError
from models.order import Bound, Order
from resolvers.opaque import opaque_bytes, opaque_text

_NONCE = 12


def seal_cursor(keyring: Keyring, viewer: Viewer, entity: str, order: Order, bound: Bound) -> str:
    """Return the cursor of a row. The organization's key must be in memory."""
    nonce = secrets.token_bytes(_NONCE)
    content = orjson.dumps([bound.row_id.hex, *map(_written, bound.values)])
    sealed = _cipher(keyring, viewer).encrypt(nonce, content, _context(viewer, entity, order))
    return opaque_text(nonce + sealed)


def open_cursor(
    keyring: Keyring, viewer: Viewer, entity: str, order: Order, cursor: str, *, at: tuple[str, ...]
) -> Bound:
    """Return the place that a cursor stands for.

    Raises:
        InvalidInputError: it is no cursor of this list, in this order, for this viewer.
    """
    try:
        raw = opaque_bytes(cursor)
        content = _cipher(keyring, viewer).decrypt(raw[:_NONCE], raw[_NONCE:], _context(viewer, entity, order))
        row_id, *values = orjson.loads(content)
        return Bound(tuple(_READ[kind](value) for kind, value in values), UUID(hex=row_id))
    except (ValueError, InvalidTag) as error:
        raise InvalidInputError(
            "Expected a cursor that an earlier page of this list in this order gave.", field=at
        ) from error


_READ: Final[Mapping[str, Callable[[Any], Any]]] = {
    "time": datetime.fromisoformat,
    "day": date.fromisoformat,
    "uuid": UUID,
    "plain": lambda value: value,
}
"""By the kind of a value in a cursor, what makes it of its written form."""


def _written(value: Any) -> tuple[str, Any]:
    if isinstance(value, datetime):
        return "time", value.isoformat()
    if isinstance(value, date):
        return "day", value.isoformat()
    if isinstance(value, UUID):
        return "uuid", str(value)
    return "plain", value


def _cipher(keyring: Keyring, viewer: Viewer) -> AESGCMSIV:
    key = keyring.current(index_owner(viewer.organization_id))
    return cipher_for(key, "cursor")


def _context(viewer: Viewer, entity: str, order: Order) -> bytes:
    keys = (f"{key.column}|{'descending' if key.descending else 'ascending'}" for key in order.keys)
    return "|".join((str(viewer.organization_id), str(viewer.principal_id), entity, *keys)).encode()
