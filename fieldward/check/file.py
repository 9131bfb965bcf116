"""What is found in the data directory, the certificate, and the process itself."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import MD5, SHA1

from fieldward.check.finding import Finding
from fieldward.check.rule import RULES
from fieldward.os_access import closed_to_others
from fieldward.settings import Settings
from fieldward.web.tls import Certificate, CertificateError

SECRET_FILES: Final = ("key-encryption-key", "audit-signing-key.pem", "database.json", "demo.json")
"""Files of the data directory of which each holds a secret."""
LEAST_RSA: Final = 3072
"""Bits of a certificate's RSA key that are as good as 128 of a cipher (NIST SP 800-57, 5.6.1)."""
RUNS_OUT: Final = timedelta(days=14)
"""Time that a certificate has left at the least. Those that are renewed by a program are renewed earlier."""

_SWAPS: Final = Path("/proc/swaps")


def file_findings(settings: Settings, *, now: datetime | None = None) -> Iterator[Finding]:
    """Yield what is wrong with files: their modes, what they are, whether backups have a place, and the certificate."""
    directory = settings.data_directory
    if directory.exists():
        if not closed_to_others(directory):
            yield _of("open-file", f"{directory} is open to others", "data_directory")
        for name in SECRET_FILES:
            if (path := directory / name).exists() and not closed_to_others(path):
                yield _of("open-file", f"{path} is open to others", "data_directory")
        if (demo := directory / "demo.json").exists():
            yield _of("demo-people", f"{demo} is there", "data_directory")
    backups = settings.backup_directory
    if settings.is_embedded and backups is not None and not backups.is_dir():
        yield _of("no-backup", f"{backups} is not there", "backup_directory")
    yield from _certificate(settings, now or datetime.now(UTC))


def process_findings(*, user_id: int | None = None, swaps: Path = _SWAPS) -> Iterator[Finding]:
    """Yield what is wrong with the process and its machine. user_id: whose it is, if not this process's."""
    if (os.geteuid() if user_id is None else user_id) == 0:
        yield _of("runs-as-root", "the user is root")
    try:
        lines = swaps.read_text().splitlines()[1:]
    except OSError:
        lines = []
    for line in lines:
        # What is compressed in memory never reaches a disk.
        if not (name := line.split()[0]).startswith(("/dev/zram", "/dev/dm-", "/dev/mapper/")):
            yield _of("swap", f"{name} is swapped to")


def _of(rule: str, where: str, variable: str | None = None) -> Finding:
    return Finding(RULES[rule], where, variable)


def _certificate(settings: Settings, now: datetime) -> Iterator[Finding]:
    path, key = settings.tls_certificate, settings.tls_key
    if path is None or key is None:
        return
    if key.exists() and not closed_to_others(key, to_write_alone=True):
        yield _of("open-file", f"{key} is open to others", "tls_key")
    try:
        Certificate(path, key)
        found = x509.load_pem_x509_certificates(path.read_bytes())[0]
    except CertificateError as error:
        yield _of("certificate-unusable", str(error), "tls_certificate")
        return
    except (OSError, ValueError, IndexError):
        yield _of("certificate-unusable", f"{path} holds no certificate", "tls_certificate")
        return
    if now < found.not_valid_before_utc or now >= found.not_valid_after_utc:
        of = f"from {found.not_valid_before_utc:%Y-%m-%d} to {found.not_valid_after_utc:%Y-%m-%d}"
        yield _of("certificate-unusable", f"{path} is good {of}", "tls_certificate")
    elif found.not_valid_after_utc - now < RUNS_OUT:
        yield _of("certificate-runs-out", f"{path} ends on {found.not_valid_after_utc:%Y-%m-%d}", "tls_certificate")
    host = urlsplit(settings.public_url).hostname if settings.public_url else None
    if host is not None and not _is_of(found, host):
        yield _of("certificate-of-another", f"{path} is not of {host}", "tls_certificate")
    if _is_weak(found):
        yield _of("certificate-weak", f"{path}: its key or its signature", "tls_certificate")
    if found.issuer == found.subject:
        yield _of("certificate-self-signed", f"{path}", "tls_certificate")


def _is_of(certificate: x509.Certificate, host: str) -> bool:
    """Return whether the certificate names the host, as clients compare them (RFC 9525)."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    try:
        return ip_address(host) in names.get_values_for_type(x509.IPAddress)
    except ValueError:
        pass
    wanted = host.casefold().rstrip(".")
    first, _, rest = wanted.partition(".")
    named = {one.casefold() for one in names.get_values_for_type(x509.DNSName)}
    return wanted in named or (bool(first and rest) and f"*.{rest}" in named)


def _is_weak(certificate: x509.Certificate) -> bool:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        is_weak = key.key_size < LEAST_RSA
    elif isinstance(key, ec.EllipticCurvePublicKey):
        is_weak = key.curve.key_size < 256
    else:
        is_weak = not isinstance(key, ed25519.Ed25519PublicKey)
    return is_weak or isinstance(certificate.signature_hash_algorithm, MD5 | SHA1)
