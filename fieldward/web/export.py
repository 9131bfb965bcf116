"""The files of exports: `GET /exports/ID/NAME`, by the same sign-in as `/graphql`, or by a link that a mutation made.

A file is streamed piece by piece, and each piece is asked for with the rights of that moment: what is taken away in the
middle ends the download. One range of bytes may be asked for, to go on where a download broke off (RFC 9110, 14). Each
request counts by the quota of operations.
"""

import base64
import re
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from auth.errors import Code, FieldwardError, RateLimitedError, UnauthenticatedError
from fieldward.web.authentication import origin_of
from fieldward.web.gate import Gate
from fieldward.web.proxy import Network
from fieldward.web.request import QUERY
from resolvers.export_download import Asked, Download, Span, open_download
from resolvers.services import Services
from resolvers.throttle import network_of
from schema.transport import ContextFactory, refusal

_STATUS: Final = {
    Code.UNAUTHENTICATED: 401,
    Code.FORBIDDEN: 403,
    Code.NOT_FOUND: 404,
    Code.CONFLICT: 409,
    Code.RATE_LIMITED: 429,
    Code.UNAVAILABLE: 503,
}
_SPAN: Final = re.compile(r"bytes=(\d{1,15})-(\d{1,15})?")


def export_routes(
    services: Services, make_context: ContextFactory, gate: Gate, *, proxies: Sequence[Network]
) -> list[Route]:
    """Return the route of exports' files.

    make_context: says who asks, as it does for `/graphql`. proxies: those in front.
    """

    async def asked_by(request: Request) -> Asked:
        export_id, name = _id(request.path_params["export"]), request.path_params["name"]
        link = QueryParams(request.scope[QUERY]).get("link")
        if link is not None:
            origin = origin_of(request, proxies)
            services.allowances.of_network(network_of(origin.ip_address)).ask()
            return Asked.by_link(export_id, name, link, origin)
        context = await make_context(request)
        context.allowance.ask()
        if context.actor.viewer is None:
            raise context.refusal or UnauthenticatedError("Sign in first.")
        return Asked(export_id, name, context.actor)

    async def take(request: Request) -> Response:
        is_head = request.method == "HEAD"
        try:
            gate.require_open()
            asked = await asked_by(request)
            download = await open_download(services, asked, span=_span(request), is_taken=not is_head)
        except FieldwardError as error:
            refused = refusal(error, _STATUS.get(error.code, 400))
            headers = {"WWW-Authenticate": "Bearer"} if refused.status == 401 else {}
            if isinstance(error, RateLimitedError) and error.retry_after_s is not None:
                headers["Retry-After"] = str(error.retry_after_s)
            return Response(refused.body, refused.status, headers, refused.media_type.decode())
        answer = _answer(download)
        return Response(None, answer.status_code, answer.headers) if is_head else answer

    # A HEAD is checked like a GET, and is no download in the trail.
    return [Route("/exports/{export}/{name}", take, methods=["GET"])]


def _answer(download: Download) -> Response:
    headers = {
        "Content-Disposition": f'attachment; filename="{download.name}"',
        "Accept-Ranges": "bytes",
        "Content-Length": str(max(0, download.end - download.start)),
    }
    if download.sha256 is not None:
        # Of the whole file, whatever part is sent (RFC 9530).
        digest = base64.b64encode(bytes.fromhex(download.sha256)).decode()
        headers["Repr-Digest"] = f"sha-256=:{digest}:"
    if download.start >= download.size and download.is_part:
        return Response(status_code=416, headers={"Content-Range": f"bytes */{download.size}"})
    if download.is_part:
        headers["Content-Range"] = f"bytes {download.start}-{download.end - 1}/{download.size}"
    status = 206 if download.is_part else 200
    return StreamingResponse(download.pieces, status, headers, download.media_type)


def _span(request: Request) -> Span | None:
    """Return the one range that is asked for; None for all of the file, as where a range is not understood."""
    found = _SPAN.fullmatch(request.headers.get("range", ""))
    # What the range was of, if that is said, would have to be compared; all of it is right, too.
    if found is None or "if-range" in request.headers:
        return None
    last = int(found[2]) if found[2] is not None else None
    return None if last is not None and last < int(found[1]) else Span(int(found[1]), last)


def _id(text: str) -> UUID:
    """Return the id of the export that an address names, in its one spelling."""
    try:
        found = UUID(text)
    except ValueError:
        raise HTTPException(404) from None
    if str(found) != text:
        raise HTTPException(404)
    return found
