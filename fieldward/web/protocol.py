"""HTTP as it is parsed: by uvicorn's fastest parser, which bounds nothing that comes before and after a body."""

import asyncio
from typing import Any, ClassVar, Final

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from fieldward.web.draining import Draining

LARGEST_HEAD: Final = 32 * 1024
"""Bytes of an address and headers. Up to a reading more are taken."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection, which is closed where it brings too much that is no body.

    draining: says whether the process ends.
    """

    draining: ClassVar[Draining] = Draining()

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._unparsed = 0

    def data_received(self, data: bytes) -> None:
        """Parse what has come, and close the connection where too much has come that means nothing yet."""
        self._unparsed += len(data)
        super().data_received(data)
        if self._unparsed > LARGEST_HEAD and not self.transport.is_closing():
            if self.cycle is None or self.cycle.response_complete:
                self.send_400_response("The request's headers are too large.")
            else:
                self.transport.close()

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body, which has bounds of its own."""
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take note that all of a request is there."""
        self._unparsed = 0
        super().on_message_complete()

    def on_headers_complete(self) -> None:
        """Begin to answer; where the process ends, with word that the connection does, too."""
        super().on_headers_complete()
        if self.draining.is_ending:
            self.let_end()

    def let_end(self) -> None:
        """Have the connection close with the answer that is being made. One that nothing was asked on is left alone.

        An answer that has begun has not said that it is the last: the next one will.
        """
        cycle = self.cycle
        if cycle is not None and not cycle.response_started:
            cycle.keep_alive = False


def protocol_of(draining: Draining) -> type[BoundedProtocol]:
    """Return the protocol of a process that says there when it ends."""

    class Protocol(BoundedProtocol):
        pass

    Protocol.draining = draining
    return Protocol
