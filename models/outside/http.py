"""Requests to servers of others: by threads of their own, bounded in time and size, to the named address alone.

Redirects are not followed. Certificates are checked as Python does. http is for this machine alone.
"""

import asyncio
import http.client
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, Any, Final
from urllib.parse import urlsplit

from models.errors import UnavailableError

TIMEOUT_S: Final = 10.0
MOST_ANSWERED: Final = 64 * 1024
"""Bytes that are read of an answer."""
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})

# A server that never ends its answer keeps a thread of these, and none that hashes passwords.
_threads: Final = ThreadPoolExecutor(max_workers=8, thread_name_prefix="outside")


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What was answered, whatever the status."""

    status: int
    media_type: str
    body: bytes


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow none: the answer is the redirect itself."""


_opener: Final = urllib.request.build_opener(_NoRedirect)


def require_address(url: str) -> str:
    """Return the URL, without a slash at its end; raises `ValueError` if it is not https, nor http to this machine."""
    parts = urlsplit(url)
    if parts.scheme not in {"https", "http"} or not parts.hostname or parts.username or parts.fragment:
        raise ValueError("Expected a URL that begins with https://, without a name and a password in it.")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ValueError("Expected https: http is for this machine alone.")
    return url.rstrip("/")


async def post(url: str, body: bytes, media_type: str = "text/plain; charset=utf-8") -> HttpAnswer:
    """Send a body, and return what was answered.

    Raises:
        UnavailableError: nobody answered in time, or nothing that is HTTP.
    """
    request = urllib.request.Request(  # noqa: S310  (`require_address` has looked at it)
        url, data=body, method="POST", headers={"Content-Type": media_type, "User-Agent": "fieldward"}
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await asyncio.get_running_loop().run_in_executor(_threads, _send, request)
    except (OSError, TimeoutError, http.client.HTTPException, ValueError) as error:
        raise UnavailableError("The server does not answer.") from error


def _send(request: urllib.request.Request) -> HttpAnswer:
    try:
        with _opener.open(request, timeout=TIMEOUT_S / 2) as answer:
            return _read(answer.status, answer.headers, answer)
    except urllib.error.HTTPError as error:
        with error:
            return _read(error.code, error.headers, error)


def _read(status: int, headers: Any, body: IO[bytes]) -> HttpAnswer:
    return HttpAnswer(status, headers.get_content_type(), body.read(MOST_ANSWERED))
