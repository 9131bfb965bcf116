"""What is found in the settings alone, without reaching anything."""

import base64
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from fieldward.check.finding import Finding
from fieldward.check.rule import RULES
from fieldward.check.secret import LEAST_PASSWORD, LEAST_TOKEN, weakness
from fieldward.database import DatabaseUrlError, credentials_of, tls_mode
from fieldward.settings import Settings, tls_key_log
from fieldward.web.origin import origins_of
from fieldward.web.proxy import networks_of
from models.cluster import Credentials
from resolvers.alarm_channel import SHORTEST_SECRET, webhook_key

FEWEST_BITS: Final = {4: 16, 6: 32}
"""Bits of a network that is named as proxies, by its version: a wider one is no list of machines."""
VERIFYING: Final = "verify-full"
"""The `sslmode` that knows the certificate's authority and its name. With verify-ca, the certificate of any other host
of the same authority does as well."""

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_OF_SERVICE: Final = ("database_url", "keystore_url")
_OF_OWNER: Final = ("owner_database_url", "owner_keystore_url")
_BOUNDS: Final = (
    *("rate_limit_requests", "rate_limit_cost", "anonymous_rate_limit_requests", "anonymous_rate_limit_cost"),
    *("concurrency", "anonymous_concurrency"),
)


def setting_findings(settings: Settings) -> Iterator[Finding]:
    """Yield what is wrong with the settings, as if for production whatever the mode is."""
    if not settings.is_production:
        yield _of("development-mode", "mode", "expected production")
    yield from _transport(settings)
    yield from _secrets(settings)
    yield from _databases(settings)
    yield from _providers(settings)
    if settings.password_cost == "test":  # noqa: S105  (a cost)
        yield _of("weak-password-hashes", "password_cost", "expected standard, and it is test")
    if settings.log_format != "json":
        yield _of("log-for-people", "log_format", "expected json")
    if settings.limits != "enforce":
        yield _of("limits-measured", "limits", "expected enforce")
    for name in _BOUNDS:
        if not getattr(settings, name):
            yield _of("no-bound", name, "expected a bound, and it is 0")
    yield from _watching(settings)


def remote_hosts(credentials: Credentials) -> list[str]:
    """Return the hosts of a database that lie on other machines: those that are no socket and no loopback address."""
    host = credentials["host"]
    return [one for one in (host if isinstance(host, list) else [host]) if not is_here(one)]


def is_here(host: str) -> bool:
    """Return whether a database's host is this machine: the directory of a socket, or a loopback address."""
    if host.startswith(("/", "@")) or host in _LOOPBACK:
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _of(rule: str, variable: str | None, where: str) -> Finding:
    return Finding(RULES[rule], where, variable)


def _transport(settings: Settings) -> Iterator[Finding]:
    networks = networks_of(settings.trusted_proxies)
    if settings.tls_certificate is None and not networks:
        yield _of("plain-http", "tls_certificate", "expected, or FIELDWARD_TRUSTED_PROXIES")
    for network in networks:
        if network.prefixlen < FEWEST_BITS[network.version]:
            yield _of("anybody-is-a-proxy", "trusted_proxies", f"expected the proxies alone, and it has {network}")
    if settings.public_url is None:
        yield _of("public-url", "public_url", "expected")
    elif urlsplit(settings.public_url).scheme != "https":
        yield _of("public-url", "public_url", "expected https")
    for origin in origins_of(settings.allowed_origins):
        if not origin.startswith("https://"):
            yield _of("any-origin", "allowed_origins", f"expected https origins by name, and it has {origin}")
    if (path := tls_key_log()) is not None:
        yield _of("tls-keys-logged", None, f"SSLKEYLOGFILE is set to {path}")


def _secrets(settings: Settings) -> Iterator[Finding]:
    asked: list[tuple[str, SecretStr | None, int]] = [
        ("metrics_token", settings.metrics_token, LEAST_TOKEN),
        ("smtp_password", settings.smtp_password, LEAST_PASSWORD),
        ("vault_token", settings.vault_token, LEAST_PASSWORD),
    ]
    for name, secret, least in asked:
        if secret is not None and (why := weakness(secret.get_secret_value().strip(), least=least)) is not None:
            yield _of("weak-secret", name, why)
    if settings.alarm_webhook_secret is not None:
        key = webhook_key(settings.alarm_webhook_secret.get_secret_value())
        # Bytes are drawn, and not chosen: what is made of few different ones, or of a text, was not.
        drawn = base64.b64encode(key).decode()
        if len(set(key)) < SHORTEST_SECRET // 2 or (key.isascii() and weakness(key.decode(), least=LEAST_TOKEN)):
            yield _of("weak-secret", "alarm_webhook_secret", "expected bytes that were drawn at random")
        elif (why := weakness(drawn, least=LEAST_TOKEN)) is not None:
            yield _of("weak-secret", "alarm_webhook_secret", why)


def _databases(settings: Settings) -> Iterator[Finding]:
    reached: dict[str, Credentials] = {}
    for name in (*_OF_SERVICE, *_OF_OWNER):
        url: SecretStr | None = getattr(settings, name)
        if url is None:
            continue
        if name in _OF_OWNER:
            yield _of("owner-served", name, "expected to be left out where the service runs")
        try:
            reached[name] = credentials_of(url.get_secret_value())
        except DatabaseUrlError:
            # Each command says so by itself.
            continue
        yield from _database(name, reached[name])
    if len(reached) and {"database_url", "keystore_url"} <= set(reached):
        one, other = ((reached[name]["host"], reached[name]["port"]) for name in _OF_SERVICE)
        if one == other:
            yield _of("keystore-beside-data", "keystore_url", "it is on the server of FIELDWARD_DATABASE_URL")


def _database(name: str, credentials: Credentials) -> Iterator[Finding]:
    remote = remote_hosts(credentials)
    mode = tls_mode(credentials)
    if remote and mode != VERIFYING:
        yield _of("unverified-database", name, f"expected sslmode={VERIFYING}, and it is {mode or 'not given'}")
    password = str(credentials["password"])
    # Over a socket the operating system may say who comes.
    if (remote or password) and (why := weakness(password, least=LEAST_PASSWORD)) is not None:
        yield _of("weak-secret", name, f"its password: {why}")


def _providers(settings: Settings) -> Iterator[Finding]:
    for name in ("vault_url", "aws_kms_endpoint_url", "audit_bucket_endpoint_url"):
        url: str | None = getattr(settings, name)
        if url is None:
            continue
        parts = urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
            yield _of("plain-provider", name, "expected https")
    if settings.key_provider == "file":
        yield _of("key-beside-data", "key_provider", "it is file")


def _watching(settings: Settings) -> Iterator[Finding]:
    if not settings.alarm_email_to and not settings.alarm_webhook_url:
        yield _of("no-alarm", "alarm_email_to", "expected, or FIELDWARD_ALARM_WEBHOOK_URL")
    if not settings.smtp_host:
        yield _of("no-mail", "smtp_host", "expected")
    if settings.metrics_token is None:
        yield _of("no-metrics", "metrics_token", "expected")
    if settings.is_embedded and settings.backup_directory is None:
        yield _of("no-backup", "backup_directory", "expected")
    if settings.audit_publish_url is None:
        yield _of("heads-stay-here", "audit_publish_url", "expected")
    if settings.audit_name == "fieldward":
        yield _of("audit-name", "audit_name", "expected one of your own")
