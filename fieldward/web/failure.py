"""The last resort: what nobody expected, answered in our own form and logged by type and place."""

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from auth.errors import Code, FieldwardError
from fieldward.web.request import REQUEST_ID
from schema.errors import MASKED
from schema.transport import refused

log = structlog.get_logger()


class LastResort:
    """Middleware: answers an exception that nothing inside has caught. No text of it leaves."""

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
            await _answer(scope, error)(scope, receive, send)


def _answer(scope: Scope, error: Exception) -> Response:
    if isinstance(error, FieldwardError):
        return JSONResponse(refused(error), status_code=503 if error.code is Code.UNAVAILABLE else 400)
    request_id = str(scope.get(REQUEST_ID, ""))
    log.error("unexpected_error", request_id=request_id, path=scope.get("path"), exc_info=error)
    extensions = {"code": Code.INTERNAL, "requestId": request_id}
    return JSONResponse({"errors": [{"message": MASKED, "extensions": extensions}]}, status_code=500)


async def answer_refusal(_: Request, error: Exception) -> Response:
    """Answer what a route refuses, such as a method or an address that is none."""
    status, detail = (
        (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, "Something went wrong.")
    )
    extensions = {"code": Code.NOT_FOUND if status == 404 else Code.INVALID_INPUT}
    return JSONResponse({"errors": [{"message": detail, "extensions": extensions}]}, status_code=status)
