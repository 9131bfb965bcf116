"""The server of a process: uvicorn's, which ends without losing a request.

Asked to end by SIGTERM, it first says that it is not ready, and goes on serving for as long as the settings say, so
that whoever sends it requests can take notice. Then it takes no more connections. Each answer says that its connection
closes with it; a connection on which nothing is asked is left open for as long as it would be anyway, since closing it
could cross the next request; WebSockets are closed, which their clients know how to go on from. What is being answered
is answered. By SIGINT, from a terminal, what is idle is closed at once.
"""

import asyncio
import gc
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Final

import uvicorn

from fieldward.web.draining import Draining
from fieldward.web.protocol import BoundedProtocol

_OBJECTS_BEFORE_COLLECTING: Final = 100_000
"""How many more objects there may be before the youngest are looked at. An answer of a page makes thousands, and a look
at the largest operation that is taken some ten thousand: they go by themselves (`schema/parsing.py`), and nobody is
served while the collector finds that none is left behind."""
_LOOK_S: Final = 0.05


class DrainingServer(uvicorn.Server):
    """uvicorn's server, with an end of its own.

    ready: called once requests are answered. ending: once they will not be for long.
    delay_s: seconds for which it goes on as ever after it was asked to end, but says that it is not ready.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        draining: Draining,
        *,
        ready: Callable[[], None],
        ending: Callable[[], None],
        delay_s: float,
    ) -> None:
        super().__init__(config)
        self._draining = draining
        self._ready = ready
        self._ending = ending
        self._delay_s = delay_s
        self._is_gentle = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve."""
        await super().startup(sockets)
        if self.started:
            # What is there now, the schema above all, stays: the collector need not look at it again and again. What
            # requests make is freed by counting references, cycles excepted.
            gc.collect()
            gc.freeze()
            gc.set_threshold(_OBJECTS_BEFORE_COLLECTING)
            self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take note of a signal to end. A second SIGINT ends at once."""
        self._is_gentle = sig == signal.SIGTERM
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End: see above."""
        self._draining.begin()
        self._ending()
        if self._is_gentle:
            await self._wait(self._delay_s, lambda: False)
        for server in self.servers:
            server.close()
        for one in sockets or []:
            one.close()
        for connection in list(self.server_state.connections):
            if isinstance(connection, BoundedProtocol):
                connection.let_end()
            else:
                connection.shutdown()
        if self._is_gentle:
            await self._wait(self.config.timeout_keep_alive, self._is_still)
        await super().shutdown()

    def _is_still(self) -> bool:
        return not self.server_state.connections and not self.server_state.tasks

    async def _wait(self, longest_s: float, is_done: Callable[[], bool]) -> None:
        """Serve on until it is done, or for so long, or until somebody is in a hurry."""
        loop = asyncio.get_running_loop()
        until, ticks = loop.time() + longest_s, 0
        while loop.time() < until and not is_done() and self._is_gentle and not self.force_exit:
            if ticks % round(1 / _LOOK_S) == 0:
                # Answers go on to say what time it is.
                await self.on_tick(0)
            ticks += 1
            await asyncio.sleep(min(_LOOK_S, max(0.0, until - loop.time())))
