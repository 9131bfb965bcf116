"""Pages of other origins, such as dashboards: those that operators name ask by a token of theirs, and read the answer.

None does by default. Such a page never asks by the cookie: browsers are not told that it may, and what comes by one
shows that a page of ours sent it (`fieldward/web/cookie.py: OwnPage`).

Standard: the Fetch standard's CORS protocol, by Starlette's middleware; OWASP ASVS 5.0, 3.4.2.
"""

from collections.abc import Sequence
from typing import Final

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from fieldward.web.header import Header
from fieldward.web.origin import ANY
from fieldward.web.transport import Transport

PREFLIGHT_S: Final = 600
"""Seconds for which a browser need not ask again whether it may."""
ASKED_BY: Final = (
    *("authorization", "content-type", "fieldward-max-staleness", "if-range", "idempotency-key", "range"),
    "upload-offset",
)
"""What a page may say of its request, beside what every page may."""
SHOWN: Final = (
    *("fieldward-read-from", "location", "ratelimit", "ratelimit-policy", "retry-after", "upload-offset"),
    *("www-authenticate", "x-request-id"),
)
"""The headers of an answer that a page is shown, beside what every page is."""
_ADDRESSES: Final = ("/graphql", "/imports/", "/exports/", "/oauth/token")
"""What is asked by a token. Pages of ours are no other page's."""


class ForeignPages:
    """Which pages of other origins are let in.

    origins: as browsers write them; `ANY` for all, which production refuses.
    """

    def __init__(self, origins: Sequence[str] = ()) -> None:
        self._origins = frozenset(origins)

    def lets_in(self, origin: str) -> bool:
        """Return whether pages of an origin are let in."""
        return ANY in self._origins or origin in self._origins

    def answering(self, app: ASGIApp, headers: Sequence[Header], transport: Transport) -> ASGIApp:
        """Return the application with what it answers shown to those pages.

        headers: those of every answer. transport: says what came by TLS, or is refused by the application.
        """
        if not self._origins:
            return app
        shown = _Shown(app, sorted(self._origins), headers)

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            is_theirs = scope["type"] == "http" and scope["path"].startswith(_ADDRESSES) and transport.lets_in(scope)
            await (shown if is_theirs else app)(scope, receive, send)

        return answer


class _Shown(CORSMiddleware):
    def __init__(self, app: ASGIApp, origins: Sequence[str], headers: Sequence[Header]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=("GET", "POST", "PUT"),
            allow_headers=ASKED_BY,
            expose_headers=SHOWN,
            max_age=PREFLIGHT_S,
        )
        self._headers_of_all = headers

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        for name, value in self._headers_of_all:
            response.headers.setdefault(name.decode(), value.decode())
        return response
