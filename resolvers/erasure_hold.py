"""Whether something keeps what is to be erased: the one place where that is asked.

A legal hold is somebody else's claim that data stay; the law lets an erasure wait for it (GDPR, article 17(3)). It is
asked for when a request is confirmed, and again, in the transaction that begins to carry it out.
"""

from collections.abc import Sequence
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from models.erasure_request import ErasureRequest
from models.errors import ConflictError

HELD = "A legal hold keeps this."


async def holds_on(connection: BaseDBAsyncClient, request: ErasureRequest) -> Sequence[UUID]:  # noqa: ARG001
    """Return the ids of the holds that keep what a request would erase, inside a transaction of its tenant.

    There is nothing yet that places a hold: what does is asked here, by the kind of the request.
    """
    return ()


async def require_no_hold(connection: BaseDBAsyncClient, request: ErasureRequest) -> None:
    """Raise `ConflictError`, naming the holds by their ids and not by their reasons, where one keeps it."""
    holds = await holds_on(connection, request)
    if holds:
        raise ConflictError(f"{HELD} {', '.join(map(str, holds))}", field=("input", "id"))
