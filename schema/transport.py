"""GraphQL over HTTP: how an operation comes in and its answer goes out.

POST with JSON only; no GET, so that no link makes a browser run an operation. Every answer, the
transport's own errors too, is JSON with codes. `application/graphql-response+json` is spoken to those who name it.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from cross_web import HTTPException
from graphql import GraphQLError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from strawberry.asgi import GraphQL
from strawberry.http import GraphQLHTTPResponse
from strawberry.types import ExecutionResult
from strawberry.types.execution import PreExecutionError

from auth.errors import Code, FieldwardError
from schema.api import Api
from schema.context import LONGEST_NAME, RequestContext
from schema.errors import extensions_of

RESPONSE_TYPE = "application/graphql-response+json"

BODY_TIMEOUT_S = 30
LONGEST_OPERATION = 64 * 1024
"""Characters of an operation's text. Values belong into variables."""

_CONTEXT = "fieldward.context"

ContextFactory = Callable[[Request], Awaitable[RequestContext]]


_STATUS = {Code.UNAVAILABLE: 503, Code.FORBIDDEN: 403}


class GraphQLTransport(GraphQL[RequestContext, None]):
    """The ASGI application behind `/graphql`."""

    def __init__(self, api: Api, make_context: ContextFactory) -> None:
        super().__init__(api, graphql_ide=None, allow_queries_via_get=False, subscription_protocols=())
        self._make_context = make_context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. What the transport refuses is answered in GraphQL's own form."""
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 4406})
            return
        request = Request(scope, receive)
        response: Response
        try:
            if request.method != "POST":
                raise HTTPException(405, "GraphQL is spoken here by POST alone.")
            # All of the request is here before anybody asks whose it is: a body that is held back holds no
            # connection, and what was revoked meanwhile is revoked.
            async with asyncio.timeout(BODY_TIMEOUT_S):
                await request.body()
            response = await self.run(request)
        except HTTPException as error:
            response = _refusal(error.status_code, error.reason, Code.INVALID_INPUT)
        except TimeoutError:
            response = _refusal(408, "The request took too long to arrive.", Code.INVALID_INPUT)
        except ClientDisconnect:
            return
        except StarletteHTTPException as error:
            response = _refusal(error.status_code, error.detail, Code.INVALID_INPUT)
        except FieldwardError as error:
            response = _refusal(_STATUS.get(error.code, 400), error.message, error.code)
        finally:
            # Finding out who asks opened a transaction; a request that never became an operation leaves it behind.
            if _CONTEXT in scope:
                await scope[_CONTEXT].reader.end()
        await response(scope, receive, send)

    async def get_context(self, request: Any, response: Any) -> RequestContext:
        """Find out who asks."""
        context = request.scope[_CONTEXT] = await self._make_context(request)
        return context

    async def get_sub_response(self, request: Any) -> Response:
        """Remember whether the client speaks GraphQL's own media type."""
        sub_response = await super().get_sub_response(request)
        accepted = request.headers.get("accept", "")
        named = {part.partition(";")[0].strip().lower() for part in accepted.split(",")}
        if RESPONSE_TYPE in named:
            sub_response.headers["x-fieldward-media-type"] = RESPONSE_TYPE
        return sub_response

    def decode_json(self, data: str | bytes) -> object:
        """Parse strictly; what only Python's parser takes (NaN, a lone surrogate) goes on, to be named by its path."""
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError:
            try:
                return json.loads(data)
            except (RecursionError, ValueError) as error:
                raise HTTPException(400, "The request's body is no JSON that can be read.") from error

    def parse_json(self, data: str | bytes) -> Any:
        """Parse a request's body, which is an object."""
        body = super().parse_json(data)
        if not isinstance(body, dict):
            raise HTTPException(400, "Expected the request's body to be a JSON object.")
        name, text = body.get("operationName"), body.get("query")
        if name is not None and not (isinstance(name, str) and name.isascii() and len(name) <= LONGEST_NAME):
            raise HTTPException(400, f"Expected operationName to be a name of at most {LONGEST_NAME} letters.")
        if isinstance(text, str) and len(text) > LONGEST_OPERATION:
            raise HTTPException(413, f"Expected an operation of at most {LONGEST_OPERATION} characters.")
        return body

    def encode_json(self, data: object) -> bytes:
        """Write compactly; what only Python's writer takes (half a surrogate pair in a syntax error) is escaped."""
        try:
            return orjson.dumps(data, default=str)
        except orjson.JSONEncodeError:
            return json.dumps(data, default=str).encode("ascii")

    async def process_result(self, request: Any, result: ExecutionResult) -> GraphQLHTTPResponse:
        """Shape the answer; an operation that never ran has no `data`."""
        data = await super().process_result(request, result)
        if isinstance(result, PreExecutionError):
            data.pop("data", None)
        return data

    def create_response(self, response_data: Any, sub_response: Response) -> Response:
        """Choose the media type and, for GraphQL's own, the status."""
        own = sub_response.headers.get("x-fieldward-media-type")
        if own:
            del sub_response.headers["x-fieldward-media-type"]
        response = super().create_response(response_data, sub_response)
        if own:
            response.headers["content-type"] = RESPONSE_TYPE
            if isinstance(response_data, dict) and "data" not in response_data:
                response.status_code = 400
        return response


def refused(error: FieldwardError) -> dict[str, Any]:
    """Return the body of an answer to a request that never became an operation."""
    return {"errors": [{"message": error.message, "extensions": extensions_of(error)}]}


def _refusal(status: int, message: str, code: Code) -> Response:
    shown = GraphQLError(message, extensions={"code": code}).formatted
    return Response(orjson.dumps({"errors": [shown]}), status_code=status, media_type="application/json")
