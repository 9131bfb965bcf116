"""An answer over a connection that is kept does not wait for the client's acknowledgement of the one before."""

import socket

from fieldward.cli.listening import listen
from fieldward.settings import Settings
from tests.support.server import free_port


def test_a_connection_is_sent_to_at_once() -> None:
    settings = Settings(port=free_port())

    with listen(settings) as listening, socket.create_connection((settings.host, settings.port)):
        taken, _ = listening.accept()
        with taken:
            assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
