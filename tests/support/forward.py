"""A port of this machine that leads to a socket of the file system."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Forward:
    """port: where it listens. It passes on whatever comes until its block ends."""

    port: int
    _open: list[socket.socket] = field(default_factory=list)

    def cut(self) -> None:
        """Break every connection that goes through."""
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._open.clear()


@contextmanager
def forwarding(path: str) -> Iterator[Forward]:
    """Pass on what comes over the network of this machine to a socket."""
    listening = socket.create_server(("127.0.0.1", 0))
    forward = Forward(int(listening.getsockname()[1]))

    def pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                target.sendall(piece)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def join(client: socket.socket, server: socket.socket) -> None:
        # Both are closed when both ways are at their end, and not below the other thread.
        with client, server:
            back = threading.Thread(target=pump, args=(server, client), daemon=True)
            back.start()
            pump(client, server)
            back.join()

    def accept() -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                server.connect(path)
            except OSError:
                client.close()
                server.close()
                continue
            forward._open += [client, server]
            joined = threading.Thread(target=join, args=(client, server), daemon=True)
            joined.start()
            joins.append(joined)

    joins: list[threading.Thread] = []
    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield forward
    finally:
        # Shut down first: a thread that waits in accept is not woken by a close.
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        forward.cut()
        for one in (thread, *joins):
            one.join(5)
