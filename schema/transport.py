"""GraphQL over HTTP: what a request asks for, and what its answer says.

POST with JSON; GET for queries alone, and never with a cookie, so that no link makes a browser run anything for who is
signed in. Every answer, the transport's own errors too, is JSON with codes. The media type is negotiated
(`schema/negotiation.py`); in `application/graphql-response+json` the status says whether an operation ran, in
`application/json` it is 200 for every request that is one.
How the bytes travel is for `fieldward/web/`: a request is answered here once all of it is there.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

import orjson
from starlette.requests import Request
from strawberry.types import ExecutionResult
from strawberry.types.execution import PreExecutionError
from strawberry.types.graphql import OperationType

from auth.errors import Code, FieldwardError
from models.errors import CrowdedError
from schema.api import Api
from schema.context import RequestContext
from schema.document import Asked, Documents, OversizedDocumentError, PersistedQueryNotFoundError, asked_of
from schema.errors import extensions_of, retry_after_of
from schema.negotiation import JSON, RESPONSE_TYPE, media_type_for
from schema.operation import OperationKindError, UnknownOperationError

_CONTEXT: Final = "fieldward.context"
NOTHING: Final = "none"
QUERY: Final = "query"
MUTATION: Final = "mutation"
KINDS: Final = (QUERY, MUTATION, NOTHING)
"""What an answer may be of."""
STATUS_OF_REFUSAL: Final = {
    Code.UNAVAILABLE: 503,
    Code.FORBIDDEN: 403,
    Code.UNTRUSTED_DOCUMENT: 403,
    Code.RATE_LIMITED: 429,
}
"""The status of a request that is refused as a whole, by its code; else 400."""
_READING: Final = frozenset({OperationType.QUERY})
_MAPS: Final = ("variables", "extensions")
"""The parameters of an address that hold JSON."""
_MOST_PARAMETERS: Final = 20
MOST_VALUES: Final = 500_000
"""Brackets and commas of a body: ten times as many values as one variable takes. Making them of a body of 16 MiB, which
can have millions, would hold up everybody for seconds."""
_UNENCODED: Final = frozenset((b"", b"identity"))

ContextFactory = Callable[[Request], Awaitable[RequestContext]]


class Answer(NamedTuple):
    """What is answered. `headers`: those that it needs beside the ones that every answer has.

    is_secret: whether there may be a secret in it that was made for it, or a cookie beside it. Such an answer is not
        compressed (`fieldward/web/compression.py`).
    kind: of what operation it is, `QUERY` or `MUTATION`; `NOTHING` where none ran. code: why the request was refused as
        a whole, where it was.
    """

    status: int
    media_type: bytes
    body: bytes
    headers: Sequence[tuple[bytes, bytes]] = ()
    is_secret: bool = False
    kind: str = NOTHING
    code: Code | None = None

    def __repr__(self) -> str:
        return f"<answer {self.status}>"


class RefusedError(Exception):
    """A request that becomes no operation. `answer` says why."""

    def __init__(
        self,
        status: int,
        message: str,
        code: Code = Code.INVALID_INPUT,
        *,
        headers: Sequence[tuple[bytes, bytes]] = (),
        **extensions: Any,
    ) -> None:
        super().__init__(message)
        shown = {"message": message, "extensions": {"code": code, **extensions}}
        self.answer = Answer(status, JSON, orjson.dumps({"errors": [shown]}), headers, code=code)


class GraphQLTransport:
    """What is behind `/graphql`.

    documents: what finds the text that a request asks for; by default nothing is known beforehand.
    """

    def __init__(self, api: Api, make_context: ContextFactory, documents: Documents | None = None) -> None:
        self._api = api
        self._make_context = make_context
        self._documents = documents or Documents()

    async def answer(self, request: Request, body: bytes) -> Answer:
        """Return the answer to a POST, or to a GET. What the transport refuses is answered in GraphQL's own form.

        body: all of it; of a GET nothing is read. Who asks is found out once it is there: a body that is held back
            holds no connection, and what was revoked meanwhile is revoked.
        """
        is_get = request.scope["method"] == "GET"
        # Of a header that comes twice, the first counts; of `Accept`, which is a list, all do.
        headers: dict[bytes, bytes] = dict(reversed(request.scope["headers"]))
        accepted = b",".join(value for name, value in request.scope["headers"] if name == b"accept")
        media_type = media_type_for(accepted)
        try:
            if media_type is None:
                raise RefusedError(
                    406, f"Answers are {RESPONSE_TYPE.decode()} or {JSON.decode()}, and neither is accepted."
                )
            if is_get:
                require_no_cookie(headers)
            else:
                require_json(headers)
            context = request.scope[_CONTEXT] = await self._make_context(request)
            try:
                asked = _asked_in(request.scope["query_string"]) if is_get else _asked(body)
                text = await self._documents.resolve(context, asked)
                result = await self._api.execute(
                    text,
                    asked.variables,
                    context,
                    operation_name=asked.name,
                    allowed_operation_types=_READING if is_get else None,
                    operation_extensions=asked.extensions,
                )
            except BaseException:
                # Finding out who asks opened a transaction. An operation ends it; what became none leaves it behind.
                await context.reader.end()
                raise
        except RefusedError as refused:
            return _with_limits(refused.answer, request)
        except OperationKindError as error:
            return _with_limits(RefusedError(405, str(error), headers=((b"allow", b"POST"),)).answer, request)
        except UnknownOperationError as error:
            return _with_limits(RefusedError(400, str(error)).answer, request)
        except PersistedQueryNotFoundError as error:
            # The request is a good one, and its document is not there: as one that is not valid.
            is_own = media_type == RESPONSE_TYPE
            answer = refusal(error, 400 if is_own else 200)._replace(media_type=media_type or JSON)
            return _with_limits(answer, request)
        except OversizedDocumentError as error:
            return _with_limits(refusal(error, 413), request)
        except CrowdedError as error:
            # Nothing is away: it is not counted as that.
            return _with_limits(refusal(error, 503), request)._replace(code=None)
        except FieldwardError as error:
            return _with_limits(refusal(error, STATUS_OF_REFUSAL.get(error.code, 400)), request)
        context.let_go()
        shaped = _shaped(result, is_own=media_type == RESPONSE_TYPE)
        is_secret = context.changes or bool(context.headers)
        waits = _retry_after(*((error.extensions or {}).get("retryAfter") for error in result.errors or ()))
        kind = NOTHING if context.measure is None else MUTATION if context.changes else QUERY
        return shaped._replace(
            headers=[*context.headers, *context.allowance.headers(), *waits], is_secret=is_secret, kind=kind
        )


def _with_limits(answer: Answer, request: Request) -> Answer:
    """Return the answer with what is left of the caller's quota, where it was found out who asks."""
    context: RequestContext | None = request.scope.get(_CONTEXT)
    return answer if context is None else answer._replace(headers=[*answer.headers, *context.allowance.headers()])


def _retry_after(*waits: int | None) -> list[tuple[bytes, bytes]]:
    longest = max((seconds for seconds in waits if seconds is not None), default=None)
    return [] if longest is None else [(b"retry-after", b"%d" % longest)]


def refusal(error: FieldwardError, status: int) -> Answer:
    """Return the answer to a request that never became an operation."""
    shown = {"message": error.message, "extensions": extensions_of(error)}
    retry_after = _retry_after(retry_after_of(error))
    return Answer(status, JSON, orjson.dumps({"errors": [shown]}), retry_after, code=error.code)


def require_no_cookie(headers: Mapping[bytes, bytes]) -> None:
    """Raise `RefusedError` where a GET comes with a cookie, as it does from a browser that follows a link."""
    if b"cookie" in headers:
        raise RefusedError(405, "With a cookie, GraphQL is spoken here by POST alone.", headers=((b"allow", b"POST"),))


def require_json(headers: Mapping[bytes, bytes]) -> None:
    """Raise `RefusedError` unless a body is said to be JSON, as it is."""
    content_type = headers.get(b"content-type", b"")
    # A foreign page may send some types without asking first; a media type that only begins as JSON could be one.
    if content_type != JSON and content_type.partition(b";")[0].strip().lower() != JSON:
        raise RefusedError(415, "Unsupported content type", headers=((b"accept-post", JSON),))
    if headers.get(b"content-encoding", b"").strip().lower() not in _UNENCODED:
        # What is small on its way and large in memory is not read at all.
        raise RefusedError(415, "Expected a body that is not compressed.", headers=((b"accept-encoding", b"identity"),))


def _asked(body: bytes) -> Asked:
    """Return what a body asks for. Raises `RefusedError`, `InvalidInputError`: it is no request."""
    if len(body) > MOST_VALUES and sum(map(body.count, (b"{", b"[", b","))) > MOST_VALUES:
        raise RefusedError(413, f"Expected a body of at most {MOST_VALUES} values.")
    said = _parsed(body)
    if isinstance(said, list):
        raise RefusedError(400, "Expected one operation: batches are not taken. Send them side by side.")
    return asked_of(said)


def _asked_in(query_string: bytes) -> Asked:
    """Return what an address asks for. Raises `RefusedError`, `InvalidInputError`: it is no request."""
    try:
        pairs = parse_qsl(query_string.decode("ascii"), errors="strict", max_num_fields=_MOST_PARAMETERS)
    except ValueError:
        raise RefusedError(400, "The address has no query that can be read.") from None
    said: dict[str, Any] = dict(pairs)
    if len(said) != len(pairs):
        raise RefusedError(400, "Expected each parameter once.")
    for name in _MAPS:
        if name in said:
            said[name] = _parsed(said[name].encode(), f"The parameter {name}")
    return asked_of(said)


def _parsed(body: bytes, what: str = "The request's body") -> Any:
    """Parse strictly; what only Python's parser takes (NaN, a lone surrogate) goes on, to be named by its path."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            return json.loads(body)
        except (RecursionError, ValueError) as error:
            raise RefusedError(400, f"{what} is no JSON that can be read.") from error


def _shaped(result: ExecutionResult, *, is_own: bool) -> Answer:
    """Return an operation's result as an answer."""
    shown = shown_of(result)
    if is_own:
        return Answer(200 if "data" in shown else 400, RESPONSE_TYPE, written(shown))
    return Answer(200, JSON, written(shown))


def shown_of(result: ExecutionResult) -> dict[str, Any]:
    """Return an operation's result as it is shown; what never ran has no `data`."""
    shown: dict[str, Any] = {} if isinstance(result, PreExecutionError) else {"data": result.data}
    if result.errors:
        shown["errors"] = [error.formatted for error in result.errors]
    if result.extensions:
        shown["extensions"] = result.extensions
    return shown


def written(shown: dict[str, Any]) -> bytes:
    """Write compactly; what only Python's writer takes (half a surrogate pair in a syntax error) is escaped."""
    try:
        return orjson.dumps(shown, default=str)
    except orjson.JSONEncodeError:
        return json.dumps(shown, default=str).encode("ascii")
