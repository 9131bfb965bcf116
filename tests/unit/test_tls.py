"""TLS as a process speaks it, and how it takes a certificate that was renewed."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from structlog.testing import capture_logs

from fieldward.web.tls import Certificate, CertificateError
from tests.support.certificate import Authority


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.made()


@asynccontextmanager
async def speaking(certificate: Certificate) -> AsyncIterator[int]:
    """Run a server of TLS, and yield its port."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"here")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=certificate.context)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await server.wait_closed()


async def shaken(port: int, client: ssl.SSLContext) -> tuple[str, str, int]:
    """Return version and cipher of a connection, and the serial number of the certificate."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname="localhost")
    connection = writer.get_extra_info("ssl_object")
    found = x509.load_der_x509_certificate(connection.getpeercert(binary_form=True))
    assert await reader.read() == b"here"
    writer.close()
    await writer.wait_closed()
    return connection.version(), connection.cipher()[0], found.serial_number


def trusting(authority: Authority, directory: Path) -> ssl.SSLContext:
    """Return a client that trusts the authority alone."""
    return ssl.create_default_context(cafile=authority.write(directory / "authority.pem"))


async def test_what_is_spoken_is_new_and_forward_secret(authority: Authority, tmp_path: Path) -> None:
    client = trusting(authority, tmp_path)
    async with speaking(Certificate(*authority.issue(tmp_path / "tls"))) as port:
        assert (await shaken(port, client))[0] == "TLSv1.3"
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        version, cipher, _ = await shaken(port, client)
        assert (version, cipher[:6]) == ("TLSv1.2", "ECDHE-")
        assert cipher.endswith(("GCM-SHA256", "GCM-SHA384", "CHACHA20-POLY1305"))
        # What is neither forward secret nor authenticated is not spoken, whatever a client offers.
        client.set_ciphers("AES128-SHA:AES256-GCM-SHA384:ECDHE-ECDSA-AES128-SHA")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await shaken(port, client)
    context = Certificate(*authority.issue(tmp_path / "tls")).context
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION


async def test_a_renewed_certificate_is_taken_without_a_restart(authority: Authority, tmp_path: Path) -> None:
    client = trusting(authority, tmp_path)
    certificate = Certificate(*authority.issue(tmp_path / "tls"))
    async with speaking(certificate) as port, certificate.renewing(0.02):
        before = (await shaken(port, client))[2]
        with capture_logs() as logs:
            authority.issue(tmp_path / "tls")
            async with asyncio.timeout(10):
                while (await shaken(port, client))[2] == before:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        assert [one["event"] for one in logs if one["event"] == "certificate_renewed"]


async def test_a_broken_certificate_is_not_taken_and_said_to_be(authority: Authority, tmp_path: Path) -> None:
    client = trusting(authority, tmp_path)
    path, key = authority.issue(tmp_path / "tls")
    certificate = Certificate(path, key)
    async with speaking(certificate) as port:
        before = (await shaken(port, client))[2]
        for broken in (b"", b"nonsense", authority.issue(tmp_path / "other")[0].read_bytes()):
            path.write_bytes(broken)
            with pytest.raises(CertificateError, match="FIELDWARD_TLS_CERTIFICATE"):
                certificate.renew()
            assert (await shaken(port, client))[2] == before
        path.unlink()
        with capture_logs() as logs:
            async with certificate.renewing(0.01):
                await asyncio.sleep(0.1)
        assert {one["event"] for one in logs} == {"certificate_not_renewed"}
        authority.issue(tmp_path / "tls")
        assert certificate.renew()
        assert (await shaken(port, client))[2] != before
        assert not certificate.renew()


def test_a_pair_that_is_none_is_refused_at_once(authority: Authority, tmp_path: Path) -> None:
    path, key = authority.issue(tmp_path / "tls")
    _, other = authority.issue(tmp_path / "other")

    for pair in ((path, other), (path, tmp_path / "none"), (key, key), (Path(os.devnull), key)):
        with pytest.raises(CertificateError, match="expected a certificate and its own key"):
            Certificate(*pair)
