"""GraphQL over HTTP: what a request asks for, and what its answer says.

POST with JSON only; no GET, so that no link makes a browser run an operation. Every answer, the
transport's own errors too, is JSON with codes. `application/graphql-response+json` is spoken to those who name it.
How the bytes travel is for `fieldward/web/`: a request is answered here once all of it is there.
"""

import json
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple

import orjson
from starlette.requests import Request
from strawberry.schema.exceptions import CannotGetOperationTypeError
from strawberry.types import ExecutionResult
from strawberry.types.execution import PreExecutionError

from auth.errors import Code, FieldwardError, RateLimitedError
from schema.api import Api
from schema.context import LONGEST_NAME, RequestContext
from schema.errors import extensions_of

JSON: Final = b"application/json"
RESPONSE_TYPE: Final = b"application/graphql-response+json"

LONGEST_OPERATION: Final = 64 * 1024
"""Characters of an operation's text. Values belong into variables."""

_CONTEXT: Final = "fieldward.context"
STATUS_OF_REFUSAL: Final = {Code.UNAVAILABLE: 503, Code.FORBIDDEN: 403, Code.RATE_LIMITED: 429}
"""The status of a request that is refused as a whole, by its code; else 400."""
_NOT_WANTED: Final = re.compile(rb";\s*q\s*=\s*0(\.0*)?\s*(;|$)")

ContextFactory = Callable[[Request], Awaitable[RequestContext]]


class Answer(NamedTuple):
    """What is answered. `headers`: those that it needs beside the ones that every answer has."""

    status: int
    media_type: bytes
    body: bytes
    headers: Sequence[tuple[bytes, bytes]] = ()

    def __repr__(self) -> str:
        return f"<answer {self.status}>"


class RefusedError(Exception):
    """A request that becomes no operation. `answer` says why."""

    def __init__(self, status: int, message: str, code: Code = Code.INVALID_INPUT, **extensions: Any) -> None:
        super().__init__(message)
        shown = {"message": message, "extensions": {"code": code, **extensions}}
        self.answer = Answer(status, JSON, orjson.dumps({"errors": [shown]}))


class _Asked(NamedTuple):
    query: str
    variables: dict[str, Any] | None
    name: str | None
    extensions: dict[str, Any] | None

    def __repr__(self) -> str:
        return "<what is asked>"


class GraphQLTransport:
    """What is behind `/graphql`."""

    def __init__(self, api: Api, make_context: ContextFactory) -> None:
        self._api = api
        self._make_context = make_context

    async def answer(self, request: Request, body: bytes) -> Answer:
        """Return the answer to a POST. What the transport refuses is answered in GraphQL's own form.

        body: all of it. Who asks is found out once it is there: a body that is held back holds no connection, and
            what was revoked meanwhile is revoked.
        """
        # Of a header that comes twice, the first counts.
        headers: dict[bytes, bytes] = dict(reversed(request.scope["headers"]))
        try:
            context = request.scope[_CONTEXT] = await self._make_context(request)
            try:
                asked = _asked(headers.get(b"content-type", b""), body)
                result = await self._api.execute(
                    asked.query,
                    asked.variables,
                    context,
                    operation_name=asked.name,
                    operation_extensions=asked.extensions,
                )
            except BaseException:
                # Finding out who asks opened a transaction. An operation ends it; what became none leaves it behind.
                await context.reader.end()
                raise
        except RefusedError as refused:
            return refused.answer
        except CannotGetOperationTypeError as error:
            return RefusedError(400, error.as_http_error_reason()).answer
        except FieldwardError as error:
            status = STATUS_OF_REFUSAL.get(error.code, 400)
            waits = isinstance(error, RateLimitedError)
            answer = refusal(error, status) if waits else RefusedError(status, error.message, error.code).answer
            return answer._replace(headers=_limits(request.scope.get(_CONTEXT), error))
        context.let_go()
        answer = _shaped(result, is_own=_speaks_own(headers.get(b"accept", b"")))
        return answer._replace(headers=[*context.headers, *_limits(context)])


def _limits(context: RequestContext | None, error: FieldwardError | None = None) -> list[tuple[bytes, bytes]]:
    """Return the headers that say what is left of a caller's quota, and when to ask again who has to wait."""
    found = [] if context is None else context.allowance.headers()
    if isinstance(error, RateLimitedError) and error.retry_after_s is not None:
        found.append((b"retry-after", b"%d" % error.retry_after_s))
    return found


def refusal(error: FieldwardError, status: int) -> Answer:
    """Return the answer to a request that never became an operation."""
    shown = {"message": error.message, "extensions": extensions_of(error)}
    return Answer(status, JSON, orjson.dumps({"errors": [shown]}))


def _asked(content_type: bytes, body: bytes) -> _Asked:
    """Return what a body asks for.

    Raises:
        RefusedError: it is no request.
    """
    # A foreign page may send some types without asking first; a media type that only begins as JSON could be one.
    if content_type != JSON and content_type.partition(b";")[0].strip().lower() != JSON:
        raise RefusedError(400, "Unsupported content type")
    said = _parsed(body)
    if not isinstance(said, dict):
        raise RefusedError(400, "Expected the request's body to be a JSON object.")
    query, name = said.get("query"), said.get("operationName")
    if name is not None and not (isinstance(name, str) and name.isascii() and len(name) <= LONGEST_NAME):
        raise RefusedError(400, f"Expected operationName to be a name of at most {LONGEST_NAME} letters.")
    if query is not None:
        if not isinstance(query, str):
            raise _not_of_type("query", "a string")
        if len(query) > LONGEST_OPERATION:
            raise RefusedError(413, f"Expected an operation of at most {LONGEST_OPERATION} characters.")
    variables, extensions = said.get("variables"), said.get("extensions")
    if variables is not None and not isinstance(variables, dict):
        raise _not_of_type("variables", "an object")
    if extensions is not None and not isinstance(extensions, dict):
        raise _not_of_type("extensions", "an object")
    if not query:
        raise RefusedError(400, "No GraphQL query found in the request")
    return _Asked(query, variables, name, extensions)


def _not_of_type(member: str, kind: str) -> RefusedError:
    return RefusedError(400, f"The GraphQL operation's `{member}` must be {kind} or null, if provided.")


def _parsed(body: bytes) -> Any:
    """Parse strictly; what only Python's parser takes (NaN, a lone surrogate) goes on, to be named by its path."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            return json.loads(body)
        except (RecursionError, ValueError) as error:
            raise RefusedError(400, "The request's body is no JSON that can be read.") from error


def _speaks_own(accept: bytes) -> bool:
    """Return whether a client names GraphQL's own media type, and not to say that it is unwanted."""
    accept = accept.lower()
    if RESPONSE_TYPE not in accept:
        return False
    for part in accept.split(b","):
        name, semicolon, parameters = part.partition(b";")
        if name.strip() == RESPONSE_TYPE:
            return not _NOT_WANTED.search(semicolon + parameters)
    return False


def _shaped(result: ExecutionResult, *, is_own: bool) -> Answer:
    """Return an operation's result as an answer; what never ran has no `data`."""
    ran = not isinstance(result, PreExecutionError)
    shown: dict[str, Any] = {"data": result.data} if ran else {}
    if result.errors:
        shown["errors"] = [error.formatted for error in result.errors]
    if result.extensions:
        shown["extensions"] = result.extensions
    if is_own:
        return Answer(200 if ran else 400, RESPONSE_TYPE, _written(shown))
    return Answer(200, JSON, _written(shown))


def _written(shown: dict[str, Any]) -> bytes:
    """Write compactly; what only Python's writer takes (half a surrogate pair in a syntax error) is escaped."""
    try:
        return orjson.dumps(shown, default=str)
    except orjson.JSONEncodeError:
        return json.dumps(shown, default=str).encode("ascii")
