"""The socket that is served on: one of our own, or one that whoever started the process holds for us.

A socket that systemd holds outlives the process: what comes while one process ends and the next begins waits in it,
and nothing is refused. Standards: sd_listen_fds(3), sd_notify(3), which are some variables and a datagram.
"""

import os
import socket
from ipaddress import ip_address
from typing import Final

from fieldward.cli.environment import refuse
from fieldward.settings import Settings

_FIRST: Final = 3
"""The first file descriptor that is handed over."""
_BACKLOG: Final = 1024


def listen(settings: Settings) -> socket.socket:
    """Return the socket to serve on, or exit: with 1 if the port is taken, with 2 if more than one was handed over, or
    in development one that others than this machine reach.
    """
    handed = _handed_over()
    if handed is None:
        return _opened(settings)
    if not settings.is_production and not ip_address(host := handed.getsockname()[0]).is_loopback:
        refuse(
            f"FIELDWARD_MODE: expected production, to listen on {host}, where the socket that was handed over does. In"
            " development the service listens on this machine alone."
        )
    return handed


def url_of(listening: socket.socket, *, is_tls: bool) -> str:
    """Return where a socket is reached."""
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if is_tls else 'http'}://{shown}:{port}"


def notify(state: str) -> None:
    """Tell whoever started the process how it is: READY=1, STOPPING=1. Where nobody wants to know, nothing is told."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sending:
        try:
            # An abstract address begins with a zero byte, and is written with an @.
            sending.sendto(state.encode(), f"\0{address[1:]}" if address.startswith("@") else address)
        except OSError:
            return


def _handed_over() -> socket.socket | None:
    """Return the socket that was handed over to this process; None for none."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    count = os.environ.get("LISTEN_FDS", "")
    if count != "1":
        refuse(f"LISTEN_FDS: expected one socket, and {count or 'none'} was handed over")
    # What this process starts is not meant by them.
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    os.set_inheritable(_FIRST, False)
    listening = socket.socket(fileno=_FIRST)
    if listening.family not in {socket.AF_INET, socket.AF_INET6} or listening.type != socket.SOCK_STREAM:
        refuse("LISTEN_FDS: expected a socket of TCP")
    _prepare(listening)
    return listening


def _opened(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _prepare(listening)
    try:
        listening.bind((settings.host, settings.port))
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        refuse(
            f"can't listen on {settings.host}:{settings.port}: {error.strerror}. FIELDWARD_PORT chooses another port.",
            code=1,
        )
    return listening


def _prepare(listening: socket.socket) -> None:
    # Connections have it from the socket that takes them. With Nagle's algorithm on, each answer over a connection that
    # is kept waits 40 ms for the client's delayed acknowledgement.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
