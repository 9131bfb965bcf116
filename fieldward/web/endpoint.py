"""What is behind `/graphql`: from a request's bytes to its answer, whatever happens on the way."""

from typing import Final

from starlette.requests import Request
from starlette.types import Receive, Scope

from fieldward.web.admission import Admission
from fieldward.web.compression import compressed
from fieldward.web.failure import unexpected
from fieldward.web.gate import Gate
from fieldward.web.limits import BodyLimit, GoneError
from resolvers.stale_reads import StaleReads
from schema.transport import Answer, GraphQLTransport, RefusedError

MAX_STALENESS: Final = b"fieldward-max-staleness"
"""The header by which a client says how old the data may be that it is shown, in seconds."""
_ALLOWED: Final = ((b"allow", b"GET, POST"),)


class GraphQLEndpoint:
    """Reads the whole request before the transport sees it, and answers for what failed."""

    def __init__(
        self,
        transport: GraphQLTransport,
        limit: BodyLimit,
        gate: Gate,
        admission: Admission,
        stale_reads: StaleReads | None = None,
    ) -> None:
        self._transport = transport
        self._limit = limit
        self._gate = gate
        self._admission = admission
        self._stale_reads = stale_reads or StaleReads()

    async def __call__(self, scope: Scope, receive: Receive) -> Answer | None:
        """Return the answer; None if the client has gone."""
        try:
            self._gate.require_open()
            if scope["method"] not in {"POST", "GET"}:
                raise RefusedError(405, "GraphQL is spoken here by POST, or by GET.", headers=_ALLOWED)
            body = b"" if scope["method"] == "GET" else await self._limit.read(scope, receive)
            with self._admission, self._stale_reads.allowing(_said(scope)):
                return await compressed(scope, await self._transport.answer(Request(scope, receive), body))
        except RefusedError as refused:
            return refused.answer
        except GoneError:
            return None
        except Exception as error:
            return unexpected(scope, error)


def _said(scope: Scope) -> str | None:
    """Return what a request says of how old the data may be. Of several, none counts: they may not mean the same."""
    found = [value for name, value in scope["headers"] if name == MAX_STALENESS]
    return b",".join(found).decode("latin-1") if found else None
