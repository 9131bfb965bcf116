"""The guard of what was published: no head is signed that is smaller than one before it, or takes something back.

A database that was set back, by an old backup or by somebody who wants the newest entries gone, knows nothing of it. So
before a log grows, it is compared with what is written down elsewhere: in a file of this machine, and at the outside
place where heads are published. The comparison is made with the tree as it is stored, leaf by leaf, and not with what
its last head says.
"""

import asyncio
import math
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from uuid import UUID

import structlog

from auth.errors import Code, FieldwardError
from models.errors import UnavailableError
from models.ledger.checkpoint import Head
from models.ledger.tree import Fetching, root_at
from models.signed_heads import SignedHead, SignedHeads

log = structlog.get_logger()

ASK_AGAIN_S: Final = 60.0
"""Seconds after which an outside place that was away is asked again."""

Outside = Callable[[str], Awaitable[Head | None]]
"""Returns the last head of a log, by its origin, as it was published; raises `UnavailableError` if it can't be read."""


class SetBackError(FieldwardError):
    """The log does not go on from a published head: it is smaller, or says something else. Nothing is signed."""

    code = Code.CONFLICT

    def __init__(self, published: Head, size: int) -> None:
        super().__init__(
            f"The log {published.origin} has {size} leaves and does not go on from its published head of"
            f" {published.size}: the database was set back or changed."
        )
        self.published = published


class RollbackGuard:
    """Compares logs with what was published of them, and writes down what is signed.

    outside: reads the last published head of a log where others keep it; None where there is no such place.
    """

    def __init__(self, signed: SignedHeads, outside: Outside | None = None) -> None:
        self._signed = signed
        self._outside = outside
        self._known: dict[str, Head] = {}
        self._ask_again: dict[str, float] = {}

    async def require(self, connection: Fetching, organization_id: UUID, head: Head) -> None:
        """Require that a log, whose head is said to be this one, goes on from every head that was published of it.

        connection: set to the organization of the tree.

        Raises:
            SetBackError: it does not.
            UnavailableError: what was published can't be read. Nothing is to be signed until it can.
        """
        if self._known.get(head.origin) == head and time.monotonic() < self._ask_again.get(head.origin, math.inf):
            return
        signed = await _in_thread(self._signed.last, head.origin)
        outside = await self._published(head, is_noted=signed is not None)
        for published in filter(None, (outside, head)):
            if not await _goes_on_from(connection, organization_id, head, published):
                raise SetBackError(published, head.size)
        if signed is not None:
            await self._require_signed(connection, organization_id, head, signed)
        self._known[head.origin] = head

    async def published(self, origin: str) -> list[Head]:
        """Return the last heads of a log as they are known outside of the database.

        Raises:
            UnavailableError: they can't be read.
        """
        signed = await _in_thread(self._signed.last, origin)
        found = [] if signed is None else [signed.head if signed.is_settled else signed.earlier]
        outside = None if self._outside is None else await self._outside(origin)
        return found if outside is None else [*found, outside]

    async def note(self, growths: Sequence[tuple[Head, Head]]) -> None:
        """Write down heads before they are committed, each after the one that it grows from.

        Raises:
            UnavailableError: they can't be written down. They must not be committed.
        """
        await _in_thread(self._signed.note, growths)

    async def settle(self, heads: Sequence[Head]) -> None:
        """Note that heads are committed."""
        self._known |= {one.origin: one for one in heads}
        await _in_thread(self._signed.settle, heads)

    async def _require_signed(
        self, connection: Fetching, organization_id: UUID, head: Head, signed: SignedHead
    ) -> None:
        if await _goes_on_from(connection, organization_id, head, signed.head):
            if not signed.is_settled and signed.head == head:
                await _in_thread(self._signed.settle, [head])
            return
        # The process died between writing it down and committing it: nobody has seen it.
        is_void = not signed.is_settled and await _goes_on_from(connection, organization_id, head, signed.earlier)
        if not is_void:
            raise SetBackError(signed.head, head.size)

    async def _published(self, head: Head, *, is_noted: bool) -> Head | None:
        """Return what the outside place has.

        Where it does not answer, what this machine has written down is enough for now; a machine that knows nothing of
        a log waits.
        """
        if self._outside is None:
            return None
        try:
            found = await self._outside(head.origin)
        except UnavailableError as error:
            if not is_noted and head.size:
                raise
            log.warning("published_head_not_read", log=head.origin, failure=type(error.__cause__ or error).__name__)
            self._ask_again[head.origin] = time.monotonic() + ASK_AGAIN_S
            return None
        self._ask_again.pop(head.origin, None)
        return found


async def _goes_on_from(connection: Fetching, organization_id: UUID, head: Head, published: Head) -> bool:
    if published.size > head.size:
        return False
    try:
        return await root_at(connection, organization_id, published.size) == published.root
    except LookupError:
        return False


async def _in_thread(work: Callable[..., Any], *arguments: object) -> Any:
    try:
        return await asyncio.to_thread(work, *arguments)
    except (sqlite3.Error, OSError) as error:
        raise UnavailableError("The file of signed heads can't be read or written.") from error
