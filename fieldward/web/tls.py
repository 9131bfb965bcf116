"""TLS as this process speaks it: 1.3, or 1.2 with keys that are forgotten after each connection.

The certificate is looked at again every few seconds, and taken once it is another: who renews it need not tell anybody.
One that is broken is not taken, and said to be; the one before stays.

Standard: RFC 9325 (BCP 195); OWASP ASVS 5.0, V12.1.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import structlog

log = structlog.get_logger()

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Those of TLS 1.2: forward secret and authenticated (RFC 9325, 4.2). TLS 1.3 has no others."""
EVERY_S: Final = 10.0
"""Seconds from one look at the files to the next."""

_Seen = tuple[tuple[int, int, int], ...]
"""Of each file its inode, size and time of change."""


class CertificateError(ValueError):
    """Certificate and key can't be served with. The message says why, and which variables name them."""


class Certificate:
    """A certificate and its key, in two files.

    context: what connections are made by; a certificate that comes later is in it, too.

    Raises:
        CertificateError: they can't be read, or are not of each other.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._paths = (certificate, key)
        self._seen = self._look()
        self.context = self._made()

    def renew(self) -> bool:
        """Take the files if they are others than before; return whether they were taken.

        Raises:
            CertificateError: they can't be served with. What was served with is.
        """
        seen = self._look()
        if seen == self._seen:
            return False
        # Apart first: half of a new pair must not become half of the old one.
        self._made()
        self._load(self.context)
        self._seen = seen
        return True

    @asynccontextmanager
    async def renewing(self, every_s: float = EVERY_S) -> AsyncIterator[None]:
        """Look at the files for as long as the block runs."""
        looking = asyncio.create_task(self._keep_looking(every_s), name="certificate")
        try:
            yield
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking

    async def _keep_looking(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            try:
                if self.renew():
                    log.info("certificate_renewed")
            except CertificateError as error:
                log.error("certificate_not_renewed", said=str(error))

    def _look(self) -> _Seen:
        try:
            found = [path.stat() for path in self._paths]
        except OSError as error:
            raise CertificateError(f"{error.filename}: {error.strerror}: expected {_EXPECTED}") from error
        return tuple((one.st_ino, one.st_size, one.st_mtime_ns) for one in found)

    def _made(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(CIPHERS)
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
        context.set_alpn_protocols(["http/1.1"])
        self._load(context)
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        certificate, key = self._paths
        try:
            # A key that takes a password is refused; OpenSSL would ask for it on the terminal.
            context.load_cert_chain(certificate, key, password=lambda: "")
        except (OSError, ValueError) as error:
            # ssl.SSLError is an OSError. Its reason names what is wrong, and nothing of the key.
            why = getattr(error, "reason", None) or getattr(error, "strerror", None) or "no such pair"
            raise CertificateError(f"{certificate}, {key}: {why}: expected {_EXPECTED}") from error


_EXPECTED: Final = "a certificate and its own key in PEM, by FIELDWARD_TLS_CERTIFICATE and FIELDWARD_TLS_KEY"
