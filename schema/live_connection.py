"""GraphQL over a WebSocket, by the protocol `graphql-transport-ws` and no other.

https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md. Operations of every kind are answered here, by the same
`Api.execute` as over HTTP; each finds out anew who asks. How a connection is made, and by whom, is for
`fieldward/web/live.py`.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, Protocol
from uuid import UUID

import orjson
import structlog
from strawberry.exceptions import MissingQueryError

from auth.errors import Code, FieldwardError, RateLimitedError, UnauthenticatedError
from models.deadline import OverdueError
from models.errors import CrowdedError, InvalidInputError, UnavailableError
from resolvers.idempotency import key_of
from resolvers.live import CutError, Listeners
from schema.api import Api
from schema.context import RequestContext
from schema.document import Asked, Documents, PersistedQueryNotFoundError, UntrustedDocumentError, asked_of
from schema.errors import MASKED, extensions_of
from schema.live_stream import Stream
from schema.operation import UnknownOperationError
from schema.replay import REPLAYED
from schema.transport import shown_of, written

log = structlog.get_logger()

PROTOCOL: Final = "graphql-transport-ws"
INIT_TIMEOUT_S: Final = 10.0
"""Seconds that a client has to say who it is."""
LONGEST_FIRST: Final = 16 * 1024
"""Characters of a message of somebody who has not said yet who they are."""
MOST_OPERATIONS: Final = 20
"""Operations of one connection at a time, subscriptions among them."""
MOST_TASKS: Final = 2 * MOST_OPERATIONS
"""Operations of one connection that are being worked on, those among them that the client completed: what began goes on
to its end, and who completes at once what they asked for would else have any number of them at work."""
LONGEST_ID: Final = 200

NOT_UNDERSTOOD: Final = 4400
NOT_SIGNED_IN: Final = 4401
FORBIDDEN: Final = 4403
NO_SUCH_PROTOCOL: Final = 4406
INIT_TIMEOUT: Final = 4408
ALREADY_THERE: Final = 4409
ALREADY_INITIALISED: Final = 4429
COME_AGAIN: Final = 1013
"""RFC 6455's registry: try again later."""
FAILED: Final = 1011

_AWAY: Final = "Something that the service stands on is away. Come again."


class ClosedError(Exception):
    """The connection is to be closed, with this code and for this reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Connected(Protocol):
    """Who opened a connection."""

    @property
    def organization_id(self) -> UUID:
        """In which organization."""

    @property
    def ends_in_s(self) -> float | None:
        """After how many seconds it ends at the latest; None where it ends with what it stands on alone."""

    async def operation_context(self) -> RequestContext:
        """Return the context of a query or mutation, of who it is now."""

    async def event_context(self) -> RequestContext:
        """Return the context of an event, of who it is at the moment that its reader reads at."""


Initialise = Callable[[Any], Awaitable[Connected]]
Receive = Callable[[], Awaitable[str | None]]
Send = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Live:
    """What the connections of a process share.

    documents: what finds the text that is asked for. turns: how many subscriptions look at the same time.
    """

    api: Api
    documents: Documents
    listeners: Listeners
    turns: asyncio.Semaphore


@dataclass(eq=False, slots=True)
class _Operation:
    """One that runs. stream: of a subscription. has_ended: whether its end was told, by one or the other."""

    id: str
    stream: Stream | None = None
    has_ended: bool = False

    def end(self) -> None:
        """Tell no more of it."""
        self.has_ended = True
        if self.stream is not None:
            self.stream.end()


class LiveConnection:
    """One connection, from its first message to its last.

    initialise: says who opens it, from the payload of `connection_init`; raises `FieldwardError` if nobody may.
    receive: the next message's text; None once the client is gone. send: sends one.
    """

    def __init__(self, live: Live, initialise: Initialise, receive: Receive, send: Send) -> None:
        self._live = live
        self._initialise = initialise
        self._receive = receive
        self._send_text = send
        self._connected: Connected | None = None
        self._operations: dict[str, _Operation] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing: asyncio.Future[ClosedError] = asyncio.get_running_loop().create_future()
        self._is_over = False

    async def run(self, close: Callable[[ClosedError], Awaitable[None]]) -> None:
        """Talk until one of both ends it. close: closes the connection; not called where the client is gone."""
        reading = asyncio.create_task(self._read())
        try:
            either: set[asyncio.Future[Any]] = {reading, self._closing}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            closed = self._closing.result() if self._closing.done() else await self._ended(reading)
            self._is_over = True
            if closed is not None:
                await close(closed)
        finally:
            self._is_over = True
            reading.cancel()
            for operation in self._operations.values():
                operation.end()
            # What changes something comes to its end, though nobody is told of it any more.
            await asyncio.gather(reading, *self._tasks, return_exceptions=True)

    @staticmethod
    async def _ended(reading: asyncio.Task[None]) -> ClosedError | None:
        try:
            await reading
        except ClosedError as closed:
            return closed
        return None

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(INIT_TIMEOUT_S):
                connected = await self._begin()
        except TimeoutError:
            raise ClosedError(INIT_TIMEOUT, "Connection initialisation timeout") from None
        if connected is None:
            return
        self._connected = connected
        await self._send({"type": "connection_ack"})
        try:
            async with asyncio.timeout(connected.ends_in_s):
                while (text := await self._receive()) is not None:
                    await self._take(_message(text))
        except TimeoutError:
            raise ClosedError(FORBIDDEN, "The access token has expired. Come again with a new one.") from None

    async def _begin(self) -> Connected | None:
        """Return who opens the connection, once they have said so; None if they are gone before."""
        while (text := await self._receive()) is not None:
            if len(text) > LONGEST_FIRST:
                raise ClosedError(NOT_UNDERSTOOD, "The first message is too long.")
            message = _message(text)
            kind = message["type"]
            if kind == "connection_init":
                try:
                    return await self._initialise(message.get("payload"))
                except UnavailableError:
                    raise ClosedError(COME_AGAIN, _AWAY) from None
                except FieldwardError as error:
                    raise ClosedError(FORBIDDEN, _short(error.message)) from error
            if kind == "subscribe":
                raise ClosedError(NOT_SIGNED_IN, "Unauthorized")
            await self._take(message)
        return None

    async def _take(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "ping":
            await self._send({"type": "pong"})
        elif kind == "connection_init":
            raise ClosedError(ALREADY_INITIALISED, "Too many initialisation requests")
        elif kind == "subscribe":
            await self._subscribe(_id_of(message), message.get("payload"))
        elif kind == "complete":
            self._complete(_id_of(message))
        elif kind != "pong":
            raise ClosedError(NOT_UNDERSTOOD, "Unexpected type of message")

    async def _subscribe(self, id: str, payload: Any) -> None:
        if id in self._operations:
            raise ClosedError(ALREADY_THERE, _short(f"Subscriber for {id} already exists"))
        if len(self._operations) >= MOST_OPERATIONS or len(self._tasks) >= MOST_TASKS:
            error = RateLimitedError(f"At most {MOST_OPERATIONS} operations at a time over one connection.")
            await self._refuse(id, [{"message": error.message, "extensions": extensions_of(error)}])
            return
        try:
            asked = asked_of(payload)
            key = _key_of(asked)
        except FieldwardError as error:
            await self._refuse(id, [{"message": error.message, "extensions": extensions_of(error)}])
            return
        operation = self._operations[id] = _Operation(id)
        task = asyncio.create_task(self._operate(operation, asked, key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _complete(self, id: str) -> None:
        """Forget an operation that the client is done with."""
        operation = self._operations.pop(id, None)
        if operation is not None:
            operation.end()

    async def _operate(self, operation: _Operation, asked: Asked, key: str | None) -> None:
        try:
            context = await self._whose.operation_context()
            context.idempotency_key = key
            try:
                text = await self._live.documents.resolve(context, asked)
                follows = await self._live.api.is_subscription(context, text, asked.name)
                if not follows:
                    await self._answer(operation, asked, text, context)
            finally:
                await context.reader.end()
                context.let_go()
            if follows:
                context.allowance.ask()
                await self._follow(operation, asked)
        except (OverdueError, CrowdedError) as error:
            # It is about this operation alone: nothing is away.
            await self._fail(operation, [{"message": error.message, "extensions": extensions_of(error)}])
        except (ClosedError, CutError, UnauthenticatedError, UnavailableError) as error:
            self._close(error)
        except (UnknownOperationError, MissingQueryError) as error:
            await self._fail(operation, [{"message": str(error), "extensions": {"code": Code.INVALID_INPUT}}])
        except FieldwardError as error:
            await self._fail(operation, [{"message": error.message, "extensions": extensions_of(error)}])
        except Exception as error:
            log.error("live_operation_failed", exc_info=error)
            await self._fail(operation, [{"message": MASKED, "extensions": {"code": Code.INTERNAL}}])

    async def _answer(self, operation: _Operation, asked: Asked, text: str, context: RequestContext) -> None:
        """Run a query or a mutation."""
        if await self._live.api.signs_in(context, text, asked.name):
            # A cookie that is renewed is in the answer's head, which there is none of here: it would be lost.
            raise InvalidInputError("What signs in, or changes how one does, goes by HTTP.")
        result = await self._live.api.execute(
            text,
            asked.variables,
            context,
            operation_name=asked.name,
            operation_extensions=asked.extensions,
        )
        shown = shown_of(result)
        if REPLAYED in context.headers:
            shown["extensions"] = {**shown.get("extensions", {}), "idempotencyReplayed": True}
        if "data" in shown:
            await self._next(operation, shown)
            await self._end(operation)
        else:
            await self._fail(operation, shown["errors"])

    async def _follow(self, operation: _Operation, asked: Asked) -> None:
        """Tell what comes, until one of both ends it."""
        with self._live.listeners.listening(self._whose.organization_id) as listener:
            live = self._live
            stream = Stream(live.api, asked, live.documents, listener, self._whose.event_context, live.turns)
            operation.stream = stream
            is_first = True
            try:
                async with aclosing(stream.results()) as results:
                    async for result in results:
                        if operation.has_ended:
                            return
                        shown = shown_of(result)
                        if is_first and stream.has_failed:
                            await self._fail(operation, shown["errors"])
                            return
                        is_first = False
                        await self._next(operation, shown)
            except (UntrustedDocumentError, PersistedQueryNotFoundError) as error:
                if is_first:
                    raise
                # It ran until now: what ends it is told as what happened last.
                said = {"message": error.message, "extensions": extensions_of(error)}
                await self._next(operation, {"errors": [said]})
            await self._end(operation)

    @property
    def _whose(self) -> Connected:
        if self._connected is None:
            raise LookupError("Nobody has opened the connection yet.")
        return self._connected

    async def _next(self, operation: _Operation, shown: dict[str, Any]) -> None:
        if not operation.has_ended:
            await self._send({"id": operation.id, "type": "next", "payload": shown})

    async def _end(self, operation: _Operation) -> None:
        if self._is_last_of(operation):
            await self._send({"id": operation.id, "type": "complete"})

    async def _fail(self, operation: _Operation, errors: list[dict[str, Any]]) -> None:
        """Say that an operation never ran."""
        if self._is_last_of(operation):
            await self._refuse(operation.id, errors)

    async def _refuse(self, id: str, errors: list[dict[str, Any]]) -> None:
        await self._send({"id": id, "type": "error", "payload": errors})

    def _is_last_of(self, operation: _Operation) -> bool:
        """Return whether the operation's end is to be told. Once it is, the client may use the id again."""
        if operation.has_ended:
            return False
        operation.has_ended = True
        self._operations.pop(operation.id, None)
        return True

    async def _send(self, message: dict[str, Any]) -> None:
        if not self._is_over:
            await self._send_text(written(message).decode())

    def _close(self, error: Exception) -> None:
        if self._closing.done():
            return
        if isinstance(error, ClosedError):
            closed = error
        elif isinstance(error, UnauthenticatedError):
            closed = ClosedError(FORBIDDEN, _short(error.message))
        elif isinstance(error, CutError):
            closed = ClosedError(COME_AGAIN, "What happens is not heard at the moment. Come again.")
        else:
            closed = ClosedError(COME_AGAIN, _AWAY)
        self._closing.set_result(closed)


def _message(text: str) -> dict[str, Any]:
    try:
        said = orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            said = json.loads(text)
        except (RecursionError, ValueError):
            raise ClosedError(NOT_UNDERSTOOD, "Expected messages in JSON") from None
    if not isinstance(said, dict) or not isinstance(said.get("type"), str):
        raise ClosedError(NOT_UNDERSTOOD, "Expected a message with a type")
    return said


def _id_of(message: dict[str, Any]) -> str:
    found = message.get("id")
    if not isinstance(found, str) or not 0 < len(found) <= LONGEST_ID:
        raise ClosedError(NOT_UNDERSTOOD, f"Expected an id of 1 to {LONGEST_ID} characters")
    return found


def _key_of(asked: Asked) -> str | None:
    """Return the key under which something is asked for: a message has no headers of its own to say it in.

    Raises:
        InvalidInputError: it is none.
    """
    said = (asked.extensions or {}).get("idempotencyKey")
    return None if said is None else key_of(said if isinstance(said, str) else "", at="extensions.idempotencyKey")


def _short(reason: str) -> str:
    """Return what fits into the frame that closes a connection: 123 bytes (RFC 6455, 5.5)."""
    return reason.encode()[:123].decode(errors="ignore")
