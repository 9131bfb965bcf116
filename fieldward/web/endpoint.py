"""What is behind `/graphql`: from a request's bytes to its answer, whatever happens on the way."""

from typing import Final

from starlette.requests import Request
from starlette.types import Receive, Scope

from fieldward.web.admission import Admission
from fieldward.web.compression import compressed
from fieldward.web.failure import unexpected
from fieldward.web.gate import Gate
from fieldward.web.limits import BodyLimit, GoneError
from schema.transport import Answer, GraphQLTransport, RefusedError

_ALLOWED: Final = ((b"allow", b"GET, POST"),)


class GraphQLEndpoint:
    """Reads the whole request before the transport sees it, and answers for what failed."""

    def __init__(self, transport: GraphQLTransport, limit: BodyLimit, gate: Gate, admission: Admission) -> None:
        self._transport = transport
        self._limit = limit
        self._gate = gate
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive) -> Answer | None:
        """Return the answer; None if the client has gone."""
        try:
            self._gate.require_open()
            if scope["method"] not in {"POST", "GET"}:
                raise RefusedError(405, "GraphQL is spoken here by POST, or by GET.", headers=_ALLOWED)
            body = b"" if scope["method"] == "GET" else await self._limit.read(scope, receive)
            with self._admission:
                return await compressed(scope, await self._transport.answer(Request(scope, receive), body))
        except RefusedError as refused:
            return refused.answer
        except GoneError:
            return None
        except Exception as error:
            return unexpected(scope, error)
