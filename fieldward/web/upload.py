"""`PUT /imports/<id>/content`: the file of an import, in one request or in several, by who may import.

    PUT /imports/0195…/content        Upload-Offset: 0        the bytes
    HEAD /imports/0195…/content   ->  Upload-Offset: 1048576  how many are there

Who asks is found out as for an operation of GraphQL, by the same token or cookie and the same proof that one's own page
sent it. A body is stored while it arrives, a piece at a time; what was stored when a connection breaks stays, and the
client goes on from the offset that it is told.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from auth.action import Action
from auth.errors import Code, FieldwardError, NotFoundError, RateLimitedError, UnauthenticatedError
from auth.permission import Permission
from auth.policy import require
from auth.principal import Viewer
from auth.scope import project_scope
from fieldward.web.gate import Gate
from models.along import Selected
from models.data_import import CHUNK_BYTES, DataImport, ImportStatus
from models.errors import ConflictError, InvalidInputError
from models.inventory import entity_of
from models.row import Row
from resolvers.change import Intent, record_attempt
from resolvers.data_import import complete_upload
from resolvers.fresh_sign_in import require_enrolled
from resolvers.import_file import OffsetError, add_piece, received_bytes
from resolvers.run_as import require_not_looking
from schema.context import RequestContext
from schema.errors import extensions_of
from schema.transport import ContextFactory

PATH: Final = "/imports/{id}/content"
OFFSET: Final = "Upload-Offset"
IDLE_S: Final = 30
"""Seconds without a byte after which a request is given up."""

MOST_OF_ONE: Final = 4
"""Files that one person or program sends to a process at the same time."""
MOST_AT_ONCE: Final = 64
"""Files that are sent to a process at the same time: a piece of each is in memory."""

_STATUS: Final = {
    Code.UNAUTHENTICATED: 401,
    Code.FORBIDDEN: 403,
    Code.NOT_FOUND: 404,
    Code.CONFLICT: 409,
    Code.INVALID_INPUT: 400,
    Code.RATE_LIMITED: 429,
    Code.UNAVAILABLE: 503,
    Code.UNKNOWN_OUTCOME: 503,
}


def upload_routes(make_context: ContextFactory, gate: Gate) -> list[Route]:
    """Return the route of uploads. What is asked of it counts as an operation's request does, by the same quota."""
    places = _Places()

    async def content(request: Request) -> Response:
        gate.require_open()
        context = await make_context(request)
        try:
            context.allowance.ask()
            return await _answer(request, context, places)
        except FieldwardError as error:
            headers = {OFFSET: str(error.received)} if isinstance(error, OffsetError) else {}
            if isinstance(error, RateLimitedError) and error.retry_after_s is not None:
                headers["Retry-After"] = str(error.retry_after_s)
            return _refused(error, headers)
        finally:
            await context.reader.close()

    return [Route(PATH, content, methods=["PUT", "GET"])]


class _Places:
    """How many files are being sent, in all and by each."""

    def __init__(self) -> None:
        self._of_each: Counter[UUID] = Counter()

    @contextmanager
    def taken(self, principal_id: UUID) -> Iterator[None]:
        """Hold a place while the block lasts. Raises `RateLimitedError` where there is none."""
        if self._of_each[principal_id] >= MOST_OF_ONE or self._of_each.total() >= MOST_AT_ONCE:
            raise RateLimitedError("Too many files are sent at the same time. Go on in a moment.", retry_after_s=5)
        self._of_each[principal_id] += 1
        try:
            yield
        finally:
            self._of_each[principal_id] -= 1
            self._of_each += Counter()


async def _answer(request: Request, context: RequestContext, places: _Places) -> Response:
    import_id = _id(request.path_params["id"])
    subjects = [import_id] if import_id is not None else []
    try:
        viewer, found = await _import(context, import_id)
        size = int(found["size"])
        if request.method != "PUT":
            return _told(await received_bytes(viewer.organization_id, found["id"]), size, found["status"])
        require_not_looking(viewer)
        require_enrolled(viewer)
        require(viewer, Permission.RECORD_IMPORT, project_scope(found["project_id"]))
        _require_plain(request)
        start = _offset(request)
        there = await received_bytes(viewer.organization_id, found["id"])
        if found["status"] == ImportStatus.OPEN and start != there:
            raise OffsetError(there)
        if found["status"] != ImportStatus.OPEN:
            raise ConflictError("The import takes no file any more.")
        # Nothing of the database is held while a body arrives, which may take as long as its sender likes.
        await context.reader.close()
        with places.taken(viewer.principal_id):
            async for piece in _pieces(request):
                start = await add_piece(viewer, found["id"], start=start, piece=piece)
    except ClientDisconnect:
        return Response(status_code=400)
    except FieldwardError as error:
        if request.method == "PUT" and not isinstance(error, OffsetError):
            name = entity_of(DataImport).name
            intent = Intent(Action.DATA_IMPORT_UPLOAD, context.actor, entity=name, subjects=subjects)
            await record_attempt(intent, error)
        raise
    if start < size:
        return _told(start, size, ImportStatus.OPEN)
    await complete_upload(context.actor, found["id"])
    return _told(size, size, ImportStatus.UPLOADED)


async def _import(context: RequestContext, import_id: UUID | None) -> tuple[Viewer, Row]:
    if context.actor.viewer is None:
        raise context.refusal or UnauthenticatedError("Sign in first.")
    viewer = context.actor.viewer
    columns = Selected(("size", "status", "project_id"))
    found = await context.load_row(entity_of(DataImport), columns, import_id) if import_id is not None else None
    if found is None:
        raise NotFoundError("There is nothing with this id.", field=("id",))
    if not context.allows(Permission.DATA_IMPORT_READ, project_scope(found["project_id"])):
        raise NotFoundError("There is nothing with this id.", field=("id",))
    return viewer, found


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    """Yield the body in pieces of `CHUNK_BYTES`, the last one shorter; what arrived before it breaks off, too."""
    held = bytearray()
    stream = request.stream()
    try:
        while True:
            async with asyncio.timeout(IDLE_S):
                arrived = await anext(stream, None)
            if arrived is None:
                break
            held += arrived
            while len(held) >= CHUNK_BYTES:
                yield bytes(held[:CHUNK_BYTES])
                del held[:CHUNK_BYTES]
    except TimeoutError:
        raise InvalidInputError(f"Nothing arrived for {IDLE_S} seconds. Go on from the offset.") from None
    if held:
        yield bytes(held)


def _require_plain(request: Request) -> None:
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise InvalidInputError("Expected the bytes of the file as they are, without Content-Encoding.")


def _offset(request: Request) -> int:
    text = request.headers.get(OFFSET, "0")
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise InvalidInputError(f"Expected a number of bytes in {OFFSET}.")
    return int(text)


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _told(received: int, size: int, status: str) -> Response:
    return JSONResponse({"received": received, "size": size, "status": status}, headers={OFFSET: str(received)})


def _refused(error: FieldwardError, headers: dict[str, str]) -> Response:
    shown = {"errors": [{"message": error.message, "extensions": extensions_of(error)}]}
    return JSONResponse(shown, status_code=_STATUS.get(error.code, 400), headers=headers)
