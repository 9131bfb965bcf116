"""The served page: GraphiQL behind a sign-in, from the project's own files alone.

The page is public, and so is all that it is made of; what it shows comes from `/graphql`, under the viewer's own
permissions. Its Content-Security-Policy lets it load and reach nothing but this server. Files are read once, when
the routes are made, and their addresses carry a digest of their content, so that a browser may keep them for good.
"""

import gzip
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

_PAGES: Final = Path(__file__).resolve().parent.parent / "pages"

_MEDIA_TYPES: Final = {
    "graphiql.js": "text/javascript; charset=utf-8",
    "graphiql.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "LICENSES.txt": "text/plain; charset=utf-8",
}
"""What is served of `pages/static`, and as what. A file that is not named here does not exist."""

CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        # Without 'unsafe-inline': the editor sets styles through the CSSOM, which needs no permission, and the one
        # package that wrote <style> elements is replaced in the build (pages/build/src/style_singleton.js).
        "style-src 'self'",
        "img-src 'self' data:",  # The editor's error markers are images in its style sheet.
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

_EVERYWHERE: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_PAGE: Final = {
    **_EVERYWHERE,
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": (
        "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), publickey-credentials-get=(), usb=()"
    ),
    "Cache-Control": "no-store",
}
_FILE: Final = {
    **_EVERYWHERE,
    # A file opened by itself (an SVG is a document) runs nothing.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Cache-Control": "public, max-age=31536000, immutable",
    "Vary": "Accept-Encoding",
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file of the page, as it is sent."""

    address: str
    media_type: str
    plain: bytes
    zipped: bytes


def page_routes() -> list[BaseRoute]:
    """Return the routes of the page: `/graphiql`, its files below `/graphiql/static`, and `/` leading there.

    Raises:
        OSError: a file of the page is missing; `pages/build/build.sh` makes them.
    """
    files = [_read(name, media_type) for name, media_type in _MEDIA_TYPES.items()]
    by_address = {file.address: file for file in files}
    page = _filled({name: file.address for name, file in zip(_MEDIA_TYPES, files, strict=True)})

    async def root(_: Request) -> Response:
        return RedirectResponse("/graphiql", headers=_EVERYWHERE)

    async def graphiql(_: Request) -> Response:
        return Response(page, media_type="text/html", headers=_PAGE)

    async def static(request: Request) -> Response:
        file = by_address.get(_address(request.path_params["digest"], request.path_params["name"]))
        if file is None:
            raise HTTPException(404)
        headers = {**_FILE, "Content-Type": file.media_type}
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(file.zipped, headers={**headers, "Content-Encoding": "gzip"})
        return Response(file.plain, headers=headers)

    return [
        Route("/", root),
        Route("/graphiql", graphiql),
        Route(_address("{digest}", "{name}"), static),
    ]


def _read(name: str, media_type: str) -> StaticFile:
    plain = (_PAGES / "static" / name).read_bytes()
    digest = hashlib.sha256(plain).hexdigest()[:16]
    return StaticFile(
        address=_address(digest, name),
        media_type=media_type,
        plain=plain,
        zipped=gzip.compress(plain, mtime=0),
    )


def _address(digest: str, name: str) -> str:
    return f"/graphiql/static/{digest}/{name}"


def _filled(addresses: dict[str, str]) -> str:
    template = (_PAGES / "graphiql.html").read_text("utf-8")
    return re.sub(r"\{\{ ([\w.]+) \}\}", lambda match: addresses[match[1]], template)
