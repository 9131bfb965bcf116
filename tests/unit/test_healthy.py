"""Whether the service in this container is ready, asked as it is spoken to."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from fieldward.healthy import is_ready
from fieldward.settings import Settings
from tests.support.certificate import Authority
from tests.support.server import free_port


@contextmanager
def answering(status: int, tls: tuple[Path, Path] | None = None) -> Iterator[int]:
    """Run what answers every look with a status, over TLS where it has a certificate; yield its port."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health/ready" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        serving = threading.Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        try:
            yield int(server.server_port)
        finally:
            server.shutdown()
            serving.join()


@pytest.mark.parametrize(("status", "ready"), [(200, True), (503, False)])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])  # noqa: S104  (it is asked on this machine)
def test_a_service_is_ready_where_it_says_so(
    host: str, status: int, ready: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What goes out by a proxy does not go there to this machine.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    with answering(status) as port:
        assert is_ready(Settings(host=host, port=port)) is ready


@pytest.mark.parametrize(("status", "ready"), [(200, True), (503, False)])
def test_a_service_with_a_certificate_is_asked_over_tls_whoever_that_is_of(
    tmp_path: Path, status: int, ready: bool
) -> None:
    certificate, key = Authority.made().issue(tmp_path, ["fieldward.example"])

    with answering(status, (certificate, key)) as port:
        assert is_ready(Settings(port=port, tls_certificate=certificate, tls_key=key)) is ready
        assert not is_ready(Settings(port=port))


def test_where_nothing_answers_it_is_not_ready() -> None:
    assert not is_ready(Settings(port=free_port()))
