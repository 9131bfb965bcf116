"""The served pages: GraphiQL behind a sign-in, and one's own account; from the project's own files alone.

The pages are public, and so is all that they are made of; what they show comes from `/graphql`, under the viewer's own
permissions. Their Content-Security-Policy lets them load and reach nothing but this server. Files are read once, when
the routes are made, and their addresses carry a digest of a page's files, so that a browser may keep them for good, and
modules of a page name each other by name alone.
"""

import gzip
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from fieldward.web.header import NOTHING_OF_THE_MACHINE

_PAGES: Final = Path(__file__).resolve().parent.parent / "pages"

_MEDIA_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}

_SHARED: Final = ("shared/page.css", "static/icon.svg")
_GRAPHIQL: Final = ("static/graphiql.js", "static/graphiql.css", "static/LICENSES.txt", *_SHARED)
_ACCOUNT: Final = (
    "account/main.js",
    "account/api.js",
    "account/authenticators.js",
    "account/device.js",
    "account/device_key.js",
    "account/device_session.js",
    "account/form.js",
    "account/link.js",
    "account/operations.js",
    "account/passkey.js",
    "account/request.js",
    "account/sessions.js",
    "account/sign_in.js",
    "account/step_up.js",
    "account/view.js",
    "account/account.css",
    *_SHARED,
)
"""What is served of `pages`, for each page. A file that is not named here does not exist."""

CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        # Without 'unsafe-inline': the editor sets styles through the CSSOM, which needs no permission, and the one
        # package that wrote <style> elements is replaced in the build (pages/build/src/style_singleton.js).
        "style-src 'self'",
        "img-src 'self' data:",  # The editor's error markers are images in its style sheet; QR codes are images, too.
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
ACCOUNT_POLICY: Final = f"{CONTENT_SECURITY_POLICY}; require-trusted-types-for 'script'; trusted-types 'none'"
"""The account's page makes no markup of text, and can't."""

_FILE: Final = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "Vary": "Accept-Encoding",
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file of a page, as it is sent."""

    name: str
    media_type: str
    plain: bytes
    zipped: bytes


def page_routes(*, audience: str, kept_inputs: Iterable[str]) -> list[BaseRoute]:
    """Return the routes of the pages, `/graphiql` and `/account`, their files below them, and `/` leading to the first.

    audience: whom a device's proofs are for, which a browser that is enrolled has to know. kept_inputs: the coordinates
        of the inputs whose values GraphiQL's history may keep.

    Raises:
        OSError: a file of a page is missing; `pages/build/build.sh` makes those of GraphiQL.
    """

    async def root(_: Request) -> Response:
        return RedirectResponse("/graphiql")

    graphiql = {
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "Permissions-Policy": f"{NOTHING_OF_THE_MACHINE}, publickey-credentials-get=()",
    }
    account = {"Content-Security-Policy": ACCOUNT_POLICY}
    return [
        Route("/", root),
        *_routes_of("graphiql", _GRAPHIQL, graphiql, {"kept": " ".join(kept_inputs)}),
        *_routes_of("account", _ACCOUNT, account, {"audience": audience}),
    ]


def _routes_of(
    page: str, paths: tuple[str, ...], headers: Mapping[str, str], said: Mapping[str, str]
) -> list[BaseRoute]:
    """Return the routes of a page, `/<page>`, and of its files, `/<page>/static/<digest of them all>/<name>`.

    said: texts that the page holds besides the addresses of its files, by their names in it.
    """
    files = {file.name: file for file in map(_read, paths)}
    digest = _digest_of(files.values())
    template = (_PAGES / f"{page}.html").read_text("utf-8")
    told = {**said, **{name: _address(page, digest, name) for name in files}}
    filled = re.sub(r"\{\{ ([\w.]+) \}\}", lambda match: escape(told[match[1]]), template)

    async def show(_: Request) -> Response:
        return Response(filled, media_type="text/html", headers=headers)

    async def static(request: Request) -> Response:
        file = files.get(request.path_params["name"])
        if file is None or request.path_params["digest"] != digest:
            raise HTTPException(404)
        sent = {**_FILE, "Content-Type": file.media_type}
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(file.zipped, headers={**sent, "Content-Encoding": "gzip"})
        return Response(file.plain, headers=sent)

    return [Route(f"/{page}", show), Route(_address(page, "{digest}", "{name}"), static)]


@cache
def _read(path: str) -> StaticFile:
    """Return a file, which is read and packed once: it does not change while a process runs."""
    found = _PAGES / path
    plain = found.read_bytes()
    return StaticFile(
        name=found.name,
        media_type=_MEDIA_TYPES[found.suffix],
        plain=plain,
        zipped=gzip.compress(plain, mtime=0),
    )


def _digest_of(files: Iterable[StaticFile]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.name.encode()).digest())
        digest.update(hashlib.sha256(file.plain).digest())
    return digest.hexdigest()[:16]


def _address(page: str, digest: str, name: str) -> str:
    return f"/{page}/static/{digest}/{name}"
