"""Pulling what changed: from a cursor on, as far as it is told by the trail, of what the viewer sees.

A cursor is a place in the organization's feed, sealed for whoever asks. It tells besides what they could read when it
was made, so that they hear when that became another: rows that they see since then, and did not see before, are not
among what changed.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final
from uuid import UUID

import asyncpg
import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from auth.principal import Viewer
from models.encryption.blind_index import cipher_for
from models.encryption.keyring import active_keyring
from models.encryption.owner import index_owner
from models.errors import InvalidInputError, OutdatedCursorError
from models.feed import ChangedObject, LostPlaceError, Place, look_from, newest_place
from models.inventory import Entity
from resolvers.opaque import opaque_bytes, opaque_text

LARGEST_PAGE: Final = 1000
DEFAULT_PAGE: Final = 50

_LENGTH: Final = 240
"""Bytes of what a cursor holds, filled up by blanks: more than the longest numbers and moments take."""
_NONCE: Final = 12
_VERSION: Final = 1
_AT: Final = ("after",)


@dataclass(frozen=True, slots=True)
class Position:
    """Where somebody is in the feed, and an imprint of what they could read then."""

    place: Place
    access: bytes


@dataclass(frozen=True, slots=True)
class FeedPage:
    """What changed from a position on.

    position: where to go on. has_more: whether there is more already.
    access_changed: whether what the viewer may read is other than it was at the position before, or which places of a
    project that they see are shown.
    is_waiting: whether something was committed that is told only once an older transaction is over.
    """

    changes: Sequence[ChangedObject]
    position: Position
    has_more: bool
    access_changed: bool
    is_waiting: bool


@dataclass(slots=True)
class Following:
    """Where somebody is who is told of changes as they come.

    position: None before the first page. page: what was found last.
    """

    position: Position | None = None
    page: FeedPage | None = None


async def newest_position(connection: asyncpg.Connection, viewer: Viewer) -> Position:
    """Return the end of the feed as of now. What was committed by then lies before it, or is told of later."""
    return Position(await newest_place(connection, viewer), access_imprint(viewer))


async def read_feed(
    connection: asyncpg.Connection,
    viewer: Viewer,
    position: Position,
    entities: Sequence[Entity],
    *,
    first: int = DEFAULT_PAGE,
    project_id: UUID | None = None,
) -> FeedPage:
    """Return what changed from a position on, of these tables, in what the viewer sees: each row once.

    connection: of one snapshot. first: how many changed rows at the most. project_id: of this project alone.

    Raises:
        InvalidInputError: the page has no size that one can have.
        OutdatedCursorError: not all that changed since can be told any more.
    """
    if not 0 <= first <= LARGEST_PAGE:
        raise InvalidInputError(f"Expected a number from 0 to {LARGEST_PAGE}.", field=("first",))
    try:
        look = await look_from(connection, viewer, position.place, entities, limit=first, project_id=project_id)
    except LostPlaceError as error:
        raise OutdatedCursorError(
            "What changed since this cursor can't be told any more. Fetch everything anew, with a new cursor.",
            field=_AT,
        ) from error
    access = access_imprint(viewer)
    return FeedPage(
        changes=look.changed,
        position=Position(look.place, access),
        has_more=look.has_more,
        access_changed=access != position.access or look.shows_other_places,
        is_waiting=look.is_waiting,
    )


def access_imprint(viewer: Viewer) -> bytes:
    """Return what is the same for a viewer as long as they may read the same, and says nothing else."""
    access = viewer.access
    held = [
        sorted(str(one) for one in access.everywhere if one.is_reading),
        sorted(str(one) for one in access.own if one.is_reading),
        sorted(
            (str(project), sorted(str(one) for one in of if one.is_reading)) for project, of in access.projects.items()
        ),
    ]
    return sha256(orjson.dumps(held)).digest()[:16]


def seal_position(viewer: Viewer, position: Position) -> str:
    """Return the cursor of a position, for this viewer. The organization's index key is in memory."""
    place = position.place
    nonce = secrets.token_bytes(_NONCE)
    content = orjson.dumps(
        [
            _VERSION,
            place.entry_id.hex if place.entry_id is not None else None,
            place.transaction,
            place.change,
            # JSON's numbers end before it does.
            str(place.cluster),
            place.at.isoformat(),
            position.access.hex(),
        ]
    )
    # Of one length, or that would tell of what others did.
    sealed = _cipher(viewer).encrypt(nonce, content.ljust(_LENGTH), _context(viewer))
    return opaque_text(nonce + sealed)


def open_position(viewer: Viewer, cursor: str) -> Position:
    """Return the position that a cursor stands for. The organization's index key is in memory.

    Raises:
        InvalidInputError: it is no cursor of the feed, or another's.
    """
    try:
        raw = opaque_bytes(cursor)
        content = _cipher(viewer).decrypt(raw[:_NONCE], raw[_NONCE:], _context(viewer))
        version, entry, transaction, change, cluster, at, access = orjson.loads(content)
        if version != _VERSION:
            raise ValueError("another version")
        place = Place(
            UUID(hex=entry) if entry is not None else None,
            transaction,
            change,
            int(cluster),
            datetime.fromisoformat(at),
        )
        return Position(place, bytes.fromhex(access))
    except (ValueError, InvalidTag) as error:
        raise InvalidInputError("Expected a cursor that an earlier page of changes gave you.", field=_AT) from error


def _cipher(viewer: Viewer) -> AESGCMSIV:
    return cipher_for(active_keyring().current(index_owner(viewer.organization_id)), "feed cursor")


def _context(viewer: Viewer) -> bytes:
    return f"{viewer.organization_id}|{viewer.principal_id}".encode()
