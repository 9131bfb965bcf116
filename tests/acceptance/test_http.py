"""What a running server makes of bytes: what it answers over one connection, and what it closes one for."""

import socket
from urllib.parse import urlsplit

import pytest

from tests.support.server import Server

BODY = b'{"query": "{ viewer { role } }"}'
ANSWER = b'{"data":{"viewer":null}}'
HEAD = b"POST /graphql HTTP/1.1\r\nhost: fieldward.test\r\ncontent-type: application/json\r\n"
WHOLE = HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(BODY), BODY)
MEGABYTE = b"a" * 1024 * 1024


def connected(server: Server) -> socket.socket:
    """Return a connection to the server."""
    address = urlsplit(server.url)
    return socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=10)


def received(connection: socket.socket, until: bytes = b"") -> bytes:
    """Return what the server sends until these bytes have come, or until it closes the connection."""
    found = b""
    try:
        while not until or until not in found:
            piece = connection.recv(65536)
            if not piece:
                break
            found += piece
    except ConnectionError:
        pass
    return found


def test_an_answer_has_these_headers_and_no_others(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(WHOLE)
        head, _, body = received(connection, ANSWER).partition(b"\r\n\r\n")

    status, *headers = head.decode().split("\r\n")
    assert status == "HTTP/1.1 200 OK"
    assert [header.partition(":")[0] for header in headers] == [
        "date",
        "content-length",
        "content-type",
        "vary",
        "x-request-id",
        "x-content-type-options",
        "referrer-policy",
        "cross-origin-resource-policy",
        "cross-origin-opener-policy",
        "content-security-policy",
        "permissions-policy",
        "cache-control",
    ]
    assert body == ANSWER


def test_one_connection_serves_requests_however_their_bytes_come(server: Server) -> None:
    with connected(server) as connection:
        for pieces in ([WHOLE], [WHOLE[:20], WHOLE[20:-5], WHOLE[-5:]], [CHUNKED, b"0\r\n", b"\r\n"]):
            for piece in pieces:
                connection.sendall(piece)
            assert received(connection, ANSWER).startswith(b"HTTP/1.1 200 OK\r\n")
        connection.sendall(WHOLE * 3)
        found = b""
        while found.count(ANSWER) < 3:
            found += received(connection, ANSWER)
        assert found.count(b"HTTP/1.1 200 OK\r\n") == 3


def test_a_body_may_be_larger_than_a_head(server: Server) -> None:
    padded = BODY[:-1] + b', "x": "' + b"y" * 60_000 + b'"}'

    with connected(server) as connection:
        connection.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(padded) + padded)
        assert received(connection, ANSWER).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    "begun",
    [
        b"POST /",
        b"POST /graphql HTTP/1.1\r\nhost: x\r\nx-",
        HEAD + b"x: ",
        WHOLE + HEAD + b"x: ",
    ],
)
def test_a_head_without_an_end_is_refused(server: Server, begun: bytes) -> None:
    with connected(server) as connection:
        connection.sendall(begun)
        if begun.startswith(WHOLE):
            assert ANSWER in received(connection, ANSWER)
        _send_all_that_is_taken(connection)
        found = received(connection)

    assert not found or found.startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_what_follows_a_body_without_an_end_is_not_kept(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(CHUNKED + b"0\r\nx: ")
        _send_all_that_is_taken(connection)
        assert received(connection) == b""


def _send_all_that_is_taken(connection: socket.socket) -> None:
    """Send ten megabytes; fails if the server takes them all."""
    with pytest.raises(ConnectionError):
        connection.sendall(MEGABYTE * 10)
