"""Creating rows under an id that the client may have made, so that a repeated try does no harm.

The same id with the same content is answered with the row as it is now; with other content it is a conflict. What was
said at creation is kept as a keyed digest, not as text.
"""

import hmac
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, TypeVar
from uuid import UUID

import orjson
from tortoise.exceptions import IntegrityError

from models.base import TenantModel
from models.encryption.blind_index import subkey
from models.encryption.keyring import active_keyring
from models.encryption.owner import index_owner
from models.errors import ConflictError, InvalidInputError
from models.inventory import entity_of
from models.statement import Statement
from models.transaction import fetch
from resolvers.change import Change

M = TypeVar("M", bound=TenantModel)


def creation_digest(organization_id: UUID, content: Mapping[str, Any]) -> bytes:
    """Return the keyed digest of what a row was created from."""
    key = active_keyring().current(index_owner(organization_id))
    canonical = orjson.dumps(content, option=orjson.OPT_SORT_KEYS, default=str)
    return hmac.new(subkey(key, "creation digest"), canonical, sha256).digest()


def require_new_id(row_id: UUID, *, at: tuple[str | int, ...] = ("input", "id")) -> None:
    """Raise `InvalidInputError` unless the client's id is a UUIDv7 (RFC 9562)."""
    if row_id.version != 7:
        raise InvalidInputError("Expected a UUID of version 7.", field=at)


async def repeats(change: Change, model: type[TenantModel], row_id: UUID, digest: bytes) -> bool:
    """Return whether the row is there already and was created from the same content.

    Raises:
        ConflictError: the id is taken by something else, or was by what has been deleted. Who sends again what they
            made, and does not know of that, does not bring it back.
    """
    # Whoever tries the same id at the same time waits here, and then finds what the first one made.
    await fetch(change.connection, "select pg_advisory_xact_lock(hashtextextended($1, 0))", str(row_id))
    statement = Statement()
    name = entity_of(model).name
    here, this = statement.argument(change.organization_id), statement.argument(row_id)
    rows = await fetch(
        change.connection,
        f'select creation_digest from "{name}" where organization_id = {here} and id = {this}'
        " union all (select null from change"
        f" where organization_id = {here} and entity = {statement.argument(name)} and entity_id = {this}"
        " and operation = 'DELETE' limit 1)",
        *statement.arguments,
    )
    if not rows:
        return False
    kept = next((row["creation_digest"] for row in rows if row["creation_digest"] is not None), None)
    if kept is None or not hmac.compare_digest(kept, digest):
        raise ConflictError(
            "This id is taken, or was: by something else, or by what was deleted.", field=("input", "id")
        )
    return True


def constraint_of(error: IntegrityError) -> str | None:
    """Return the name of the constraint that a write broke."""
    cause = error.args[0] if error.args else None
    name = getattr(cause, "constraint_name", None)
    return name if isinstance(name, str) else None
