"""Cursors: the place of a row in an order, sealed so that nobody reads or makes one.

A cursor holds the order and the row's place in it. It opens only for the person or program and the tenant that it was
made for, and only for the same order, so that it tells nothing and leads nowhere else.
"""

import base64
import binascii
import secrets
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from auth.principal import Viewer
from models.encryption.blind_index import cipher_for
from models.encryption.keyring import Keyring
from models.encryption.owner import index_owner
from models.errors import InvalidInputError
from models.listing import Bound
from models.order import Order

_NONCE = 12


def seal_cursor(keyring: Keyring, viewer: Viewer, entity: str, order: Order, bound: Bound) -> str:
    """Return the cursor of a row. The organization's key must be in memory."""
    value = bound.value.isoformat() if isinstance(bound.value, datetime) else bound.value
    kind = "time" if isinstance(bound.value, datetime) else "plain"
    nonce = secrets.token_bytes(_NONCE)
    content = orjson.dumps([kind, value, bound.row_id.hex])
    sealed = _cipher(keyring, viewer).encrypt(nonce, content, _context(viewer, entity, order))
    return base64.urlsafe_b64encode(nonce + sealed).rstrip(b"=").decode()


def open_cursor(
    keyring: Keyring, viewer: Viewer, entity: str, order: Order, cursor: str, *, at: tuple[str, ...]
) -> Bound:
    """Return the place that a cursor stands for.

    Raises:
        InvalidInputError: it is no cursor of this list, in this order, for this viewer.
    """
    try:
        raw = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        content = _cipher(keyring, viewer).decrypt(raw[:_NONCE], raw[_NONCE:], _context(viewer, entity, order))
        kind, value, row_id = orjson.loads(content)
        parsed: Any = datetime.fromisoformat(value) if kind == "time" else value
        return Bound(value=parsed, row_id=UUID(hex=row_id))
    except (ValueError, binascii.Error, InvalidTag, UnicodeEncodeError) as error:
        raise InvalidInputError(
            "Expected a cursor that an earlier page of this list in this order gave.", field=at
        ) from error


def _cipher(keyring: Keyring, viewer: Viewer) -> AESGCMSIV:
    key = keyring.current(index_owner(viewer.organization_id))
    return cipher_for(key, "cursor")


def _context(viewer: Viewer, entity: str, order: Order) -> bytes:
    way = "descending" if order.descending else "ascending"
    return f"{viewer.organization_id}|{viewer.principal_id}|{entity}|{order.column}|{way}".encode()
