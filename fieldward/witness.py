"""A witness: it cosigns the heads of logs that only grew since it saw them, and of each log never two that differ.

C2SP's tlog-witness. It needs nothing of a log but its key, and keeps of each the newest head: in one file, on the disk
before it answers. Run by somebody else than the log, on another machine, it is what a log can't talk its way around.
"""

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from models.ledger.add_checkpoint import MOST_BYTES, SIZE_MEDIA_TYPE, AddCheckpoint
from models.ledger.checkpoint import CheckpointError, Head, HeadSigner, SignatureType, VerifierKey
from models.ledger.merkle import EMPTY_ROOT, ProofError, verify_consistency

log = structlog.get_logger()

ARRIVES_WITHIN_S: Final = 10.0
"""Seconds that a request has to arrive."""

_TABLE: Final = (
    "create table if not exists log (origin text primary key, size integer not null, root blob not null,"
    " checkpoint text not null) without rowid"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a witness answers: a status of HTTP, and a text."""

    status: int
    text: str
    media_type: str = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Logs:
    """Whose heads are cosigned: the logs of these keys, and those whose origins lie below the names of the others.

    An installation signs the heads of all its organizations with one key, each under an origin below its name.
    """

    keys: Sequence[VerifierKey] = ()
    above: Sequence[VerifierKey] = ()

    def keys_of(self, origin: str) -> Sequence[VerifierKey]:
        """Return the keys by which the heads of a log are signed."""
        own = [key for key in self.keys if key.name == origin]
        below = [VerifierKey(origin, key.type, key.public) for key in self.above if origin.startswith(f"{key.name}/")]
        return own + below


class WitnessState:
    """The newest head of each log that was cosigned, in a file. Who asks and changes it does so one after the other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with closing(self._opened()):
            pass

    def advance(self, head: Head, note: str, require: Callable[[Head], Answer | None]) -> Answer | None:
        """Put a head in the place of the one before it, on the disk, unless it is refused; return the refusal.

        require: is given the one before, and returns what to answer instead; None lets it pass.
        """
        with closing(self._opened()) as file:
            file.execute("begin immediate")
            row = file.execute("select size, root from log where origin = ?", (head.origin,)).fetchone()
            known = Head(head.origin, *row) if row else Head(head.origin, 0, EMPTY_ROOT)
            refusal = require(known)
            if refusal is None:
                file.execute(
                    "insert or replace into log values (?, ?, ?, ?)", (head.origin, head.size, head.root, note)
                )
                file.execute("commit")
            else:
                file.execute("rollback")
        return refusal

    def _opened(self) -> sqlite3.Connection:
        if not self._path.exists():
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        file = sqlite3.connect(self._path, timeout=10, isolation_level=None)
        # What is committed is on the disk, in this one file.
        file.execute("pragma journal_mode = delete")
        file.execute("pragma synchronous = extra")
        file.execute(_TABLE)
        return file


class Witness:
    """Cosigns heads under a name.

    clock: seconds since 1970.
    """

    def __init__(
        self, signer: HeadSigner, name: str, state: WitnessState, logs: Logs, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._signer = signer
        self._name = name
        self._state = state
        self._logs = logs
        self._clock = clock

    @property
    def key(self) -> VerifierKey:
        """By which its cosignatures are verified."""
        return self._signer.verifier_key(self._name, SignatureType.COSIGNATURE)

    def add_checkpoint(self, body: bytes) -> Answer:
        """Answer a request, as the standard says; a cosignature is given only once the head is on the disk."""
        try:
            asked = AddCheckpoint.parse(body.decode())
            head = Head.parse(asked.note.text)
        except (CheckpointError, UnicodeDecodeError) as error:
            return Answer(400, f"{error}\n")
        keys = self._logs.keys_of(head.origin)
        if not keys:
            return Answer(404, "The log is not known here.\n")
        if not any(_has_signed(key, asked) for key in keys):
            return Answer(403, "The log did not sign it.\n")
        if asked.old_size > head.size:
            return Answer(400, "Expected an old size that is not larger than the log.\n")

        refusal = self._state.advance(head, str(asked.note), lambda known: _refusal(known, head, asked))
        if refusal is not None:
            log.warning("checkpoint_refused", log=head.origin, size=head.size, status=refusal.status)
            return refusal
        return Answer(200, self._signer.cosign(self._name, asked.note.text, time=int(self._clock())).line)


def witness_app(witness: Witness) -> Starlette:
    """Return the application: `POST /add-checkpoint`, and `/key`, which says by which key it is known."""
    turn = asyncio.Lock()

    async def add_checkpoint(request: Request) -> Response:
        body = await _body(request)
        async with turn:
            answer = await asyncio.to_thread(witness.add_checkpoint, body)
        return Response(answer.text, answer.status, media_type=answer.media_type)

    async def key(_: Request) -> Response:
        return PlainTextResponse(f"{witness.key}\n")

    return Starlette(routes=[Route("/add-checkpoint", add_checkpoint, methods=["POST"]), Route("/key", key)])


def _has_signed(key: VerifierKey, asked: AddCheckpoint) -> bool:
    try:
        key.verify(asked.note)
    except CheckpointError:
        return False
    return True


def _refusal(known: Head, head: Head, asked: AddCheckpoint) -> Answer | None:
    if asked.old_size != known.size:
        return Answer(409, f"{known.size}\n", SIZE_MEDIA_TYPE)
    if known.size == head.size and known.root != head.root:
        return Answer(409, f"{known.size}\n", SIZE_MEDIA_TYPE)
    try:
        verify_consistency(known.size, known.root, head.size, head.root, asked.proof)
    except ProofError as error:
        return Answer(422, f"{error}\n")
    return None


async def _body(request: Request) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(ARRIVES_WITHIN_S):
            async for piece in request.stream():
                body += piece
                if len(body) > MOST_BYTES:
                    raise HTTPException(413)
    except TimeoutError:
        raise HTTPException(408) from None
    return bytes(body)
