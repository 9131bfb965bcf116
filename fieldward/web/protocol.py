"""HTTP as it is parsed: by uvicorn's fastest parser, which bounds nothing that comes before and after a body.

What is bounded here: the bytes and the seconds of a head, the connections of a process, and, where as many requests are
at work as may be (`fieldward/web/admission.py`), each further one: it is answered without being read. The answers that
are made here have the headers that all have.
"""

import asyncio
import resource
from collections.abc import Sequence
from typing import Any, ClassVar, Final
from urllib.parse import unquote

import httptools
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from fieldward.web.admission import BODY, MEDIA_TYPE, Admission
from fieldward.web.draining import Draining
from fieldward.web.header import Header, security_headers
from fieldward.web.limits import ANONYMOUS_LIMIT
from models.base import new_id

LARGEST_HEAD: Final = 32 * 1024
"""Bytes of an address and headers. Up to a reading more are taken."""
ARRIVAL_S: Final = 30.0
"""Seconds that a head may take, from the first byte of a connection or of a request."""
MOST_CONNECTIONS: Final = 8192
"""Connections of a process, where it may open that many files."""
_FILES_OF_OURS: Final = 512
"""Files that are left for connections to the database, logs and the like."""
_WATCHED: Final = ("/health/", "/metrics")
"""What is asked for in order to see how a process is doing: it is answered however much there is to do."""


def most_connections() -> int:
    """Return how many connections this process can hold, once it may open as many files as it is let to."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + _FILES_OF_OURS
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(64, most - _FILES_OF_OURS)


def bounded_protocol(
    admission: Admission, draining: Draining, *, is_production: bool, most: int = MOST_CONNECTIONS
) -> type["BoundedProtocol"]:
    """Return the protocol of a server. draining: says there when it ends. most: how many connections it takes."""

    class OfServer(BoundedProtocol):
        """The protocol of one server."""

    OfServer.admission, OfServer.draining, OfServer.most = admission, draining, most
    OfServer.said = security_headers(is_production=is_production)
    return OfServer


class BoundedProtocol(HttpToolsProtocol):
    """One connection, which is closed where it brings too much that is no body, or takes too long to bring it.

    draining: says whether the process ends.
    """

    admission: ClassVar[Admission]
    draining: ClassVar[Draining]
    said: ClassVar[Sequence[Header]]
    most: ClassVar[int]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._unparsed = 0
        self._is_arriving = True
        self._arrival: asyncio.TimerHandle | None = None
        self._turned_away: int | None = None
        self._has_upgraded = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, if there are not too many."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            self._answer_away(self.admission.turn_away(), is_last=True)
            return
        self._time_arrival()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what the connection was waited for."""
        self._stop_timing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has come, and close the connection where too much has come that means nothing yet."""
        self._unparsed += len(data)
        super().data_received(data)
        if self._has_upgraded:
            return
        if self._is_arriving or (self._is_free and self.timeout_keep_alive_task is None):
            self._time_arrival()
        elif self._arrival is not None:
            self._stop_timing()
        if self._unparsed > LARGEST_HEAD and not self.transport.is_closing():
            if self._is_free:
                self.send_400_response("The request's headers are too large.")
            else:
                self.transport.close()

    def on_message_begin(self) -> None:
        """Begin a request. One that came in the same packet, behind one that was turned away, ends the wait for it."""
        self._is_arriving = True
        self._unset_keepalive_if_required()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Begin to work on a request whose head is there, or turn it away; where the process ends, say that the
        connection does, too."""
        self._is_arriving = False
        if self.transport.is_closing():
            self._turned_away = 0
            return
        if not self.admission.is_full or not self._is_free or not self._may_be_turned_away():
            super().on_headers_complete()
            if self.draining.is_ending:
                self.let_end()
            return
        self._turned_away = 0
        if self._brings_much() or self.expect_100_continue:
            # Nobody waits for that body.
            self._answer_away(self.admission.turn_away(), is_last=True)
        else:
            self._is_arriving = True

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body, which has bounds of its own."""
        self._unparsed = 0
        if self._turned_away is None:
            super().on_body(body)
            return
        self._turned_away += len(body)
        if self._turned_away > ANONYMOUS_LIMIT and not self.transport.is_closing():
            self._answer_away(self.admission.turn_away(), is_last=True)

    def on_message_complete(self) -> None:
        """Take note that all of a request is there."""
        self._unparsed = 0
        self._is_arriving = False
        if self._turned_away is None:
            super().on_message_complete()
            return
        if not self.transport.is_closing():
            self._turned_away = None
            is_last = self.parser.get_http_version() != "1.1" or not self.parser.should_keep_alive()
            self._answer_away(self.admission.turn_away(), is_last=is_last)

    def let_end(self) -> None:
        """Have the connection close with the answer that is being made. One that nothing was asked on is left alone.

        An answer that has begun has not said that it is the last: the next one will.
        """
        cycle = self.cycle
        if cycle is not None and not cycle.response_started:
            cycle.keep_alive = False

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to the protocol of WebSockets, which has times of its own."""
        self._has_upgraded = True
        self._stop_timing()
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """Say that what came is no request."""
        self._write(400, b"text/plain; charset=utf-8", msg.encode("ascii"), is_last=True)

    @property
    def _is_free(self) -> bool:
        """Whether nothing that came before over this connection is still to be answered."""
        return self.cycle is None or self.cycle.response_complete

    def _may_be_turned_away(self) -> bool:
        if self.parser.should_upgrade():
            return False
        path = unquote(httptools.parse_url(self.url).path.decode("latin-1"))
        return not path.startswith(_WATCHED)

    def _brings_much(self) -> bool:
        for name, value in self.headers:
            if name == b"transfer-encoding" or (
                name == b"content-length" and (len(value) > 9 or not value.isdigit() or int(value) > ANONYMOUS_LIMIT)
            ):
                return True
        return False

    def _answer_away(self, wait_s: int, *, is_last: bool) -> None:
        self._write(503, MEDIA_TYPE, BODY, (b"retry-after", b"%d" % wait_s), is_last=is_last)
        if not is_last:
            # As after every answer: the connection may bring another request, and not wait for ever with it.
            self.on_response_complete()

    def _write(self, status: int, media_type: bytes, body: bytes, *more: Header, is_last: bool) -> None:
        if self.transport.is_closing():
            return
        headers = [
            *self.server_state.default_headers,
            (b"content-type", media_type),
            (b"content-length", b"%d" % len(body)),
            (b"x-request-id", str(new_id()).encode()),
            *more,
            *self.said,
        ]
        if is_last:
            headers.append((b"connection", b"close"))
        lines = [name + b": " + value + b"\r\n" for name, value in headers]
        self.transport.write(b"".join((STATUS_LINE[status], *lines, b"\r\n", body)))
        if is_last:
            self.transport.close()

    def _time_arrival(self) -> None:
        if self._arrival is None:
            self._arrival = self.loop.call_later(ARRIVAL_S, self._give_up)

    def _stop_timing(self) -> None:
        if self._arrival is not None:
            self._arrival.cancel()
            self._arrival = None

    def _give_up(self) -> None:
        """Close a connection whose head did not come. A keep-alive that waits for another request has its own time."""
        self._arrival = None
        if not self.transport.is_closing():
            self.transport.close()
