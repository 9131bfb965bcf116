"""The last resort: what nobody expected, answered in our own form and logged by type and place."""

import orjson
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from auth.errors import Code, FieldwardError
from fieldward.web.request import REQUEST_ID, route_of
from schema.errors import MASKED
from schema.negotiation import JSON
from schema.transport import Answer, refusal

log = structlog.get_logger()


def unexpected(scope: Scope, error: Exception) -> Answer:
    """Return the answer to a request that failed, and log why. No text of the error leaves."""
    if isinstance(error, FieldwardError):
        return refusal(error, 503 if error.code is Code.UNAVAILABLE else 400)
    request_id = str(scope.get(REQUEST_ID, ""))
    log.error("unexpected_error", request_id=request_id, route=route_of(scope), exc_info=error)
    shown = {"message": MASKED, "extensions": {"code": Code.INTERNAL, "requestId": request_id}}
    return Answer(500, JSON, orjson.dumps({"errors": [shown]}), code=Code.INTERNAL)


class LastResort:
    """Middleware: answers an exception that nothing inside has caught."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and answer for it if it fails before its answer has begun."""
        begun = False

        async def noting_send(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noting_send)
        except Exception as error:
            if scope["type"] != "http" or begun:
                raise
            answer = unexpected(scope, error)
            headers = {name.decode(): value.decode() for name, value in answer.headers}
            response = Response(answer.body, answer.status, headers, answer.media_type.decode())
            await response(scope, receive, send)


async def answer_refusal(_: Request, error: Exception) -> Response:
    """Answer what a route refuses, such as a method or an address that is none."""
    refused = error if isinstance(error, HTTPException) else HTTPException(500, "Something went wrong.")
    extensions = {"code": Code.NOT_FOUND if refused.status_code == 404 else Code.INVALID_INPUT}
    shown = {"errors": [{"message": refused.detail, "extensions": extensions}]}
    return JSONResponse(shown, status_code=refused.status_code, headers=refused.headers)
