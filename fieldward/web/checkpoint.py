"""The signed heads of the audit trail at a stable address, for anybody: `/audit/checkpoint/…`, `/audit/verifier-key`.

They are public: a head says how many entries a log has and a hash, and nothing of what is in them. Whoever keeps an
earlier one can see later whether anything was taken back. Asking costs little: what was just asked for is answered from
memory, and few ask the database at a time. An organization that has no head is answered like one that is none. Before
the gate is open a database may be the one of a backup, in which there are heads of whom was erased since.
"""

import time
from collections import OrderedDict
from typing import Final
from uuid import UUID

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from fieldward.web.gate import Gate
from models.errors import UnavailableError
from models.sealed_batch import HEADS_ID
from resolvers.checkpoint import shown_checkpoint
from resolvers.sealing import Sealer

KEPT_S: Final = 1.0
"""Seconds for which an answer is given from memory."""
MOST_KEPT: Final = 1024
AT_ONCE: Final = 2
"""Statements that run for this at a time; who comes meanwhile is told to come back."""

_HEADERS: Final = {"Cross-Origin-Resource-Policy": "cross-origin"}


class _Shown:
    """What was asked for in the last moment, by log."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._kept: OrderedDict[UUID, tuple[float, str | None]] = OrderedDict()
        self._asking = 0

    async def of(self, organization_id: UUID) -> str | None:
        now = time.monotonic()
        found = self._kept.get(organization_id)
        if found is not None and now - found[0] < KEPT_S:
            return found[1]
        if self._asking >= AT_ONCE:
            raise HTTPException(503, "Try again in a moment.", headers={"Retry-After": "1"})
        self._asking += 1
        try:
            self._gate.require_open()
            text = await shown_checkpoint(organization_id)
        except UnavailableError as error:
            raise HTTPException(503, "Try again in a moment.", headers={"Retry-After": "5"}) from error
        finally:
            self._asking -= 1
        self._kept[organization_id] = now, text
        self._kept.move_to_end(organization_id)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return text


def checkpoint_routes(sealer: Sealer, gate: Gate) -> list[Route]:
    """Return the routes of heads, and of the key by which they are verified."""
    shown = _Shown(gate)

    async def checkpoint(request: Request) -> Response:
        text = await shown.of(_log(request.path_params["log"]))
        if text is None:
            raise HTTPException(404)
        return _text(text)

    async def verifier_key(_: Request) -> Response:
        return _text(f"{sealer.signer.verifier_key(sealer.name)}\n")

    async def verifier_key_of(request: Request) -> Response:
        text = await shown.of(_log(request.path_params["log"]))
        if text is None:
            raise HTTPException(404)
        return _text(f"{sealer.signer.verifier_key(text.partition(chr(10))[0])}\n")

    return [
        Route("/audit/checkpoint/{log}", checkpoint),
        Route("/audit/verifier-key", verifier_key),
        Route("/audit/verifier-key/{log}", verifier_key_of),
    ]


def _log(name: str) -> UUID:
    """Return the id of the log that an address names: `heads`, or an organization's id in its one spelling."""
    if name == "heads":
        return HEADS_ID
    try:
        found = UUID(name)
    except ValueError:
        raise HTTPException(404) from None
    if str(found) != name or found == HEADS_ID:
        raise HTTPException(404)
    return found


def _text(text: str) -> Response:
    return PlainTextResponse(text, headers=_HEADERS)
