"""A look at a whole installation, and what production mode does not start with."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final

import asyncpg

from fieldward.check.file import file_findings, process_findings
from fieldward.check.finding import Finding, Severity
from fieldward.check.role import role_findings
from fieldward.check.rule import RULES
from fieldward.check.server import server_findings
from fieldward.check.setting import setting_findings
from fieldward.container import load_providers
from fieldward.database import Databases
from fieldward.settings import Settings
from models.cluster import Credentials
from models.encryption.provider import WrappingKeyError
from models.errors import UnavailableError
from models.transaction import AWAY

MOST_APART_S: Final = 2.0
"""Seconds by which the clocks of service and database may differ: what takes part in proofs and tokens allows more."""
CONNECT_S: Final = 5.0

_SEVERITIES: Final = {severity: place for place, severity in enumerate(Severity)}
_NOT_LOOKED_AT: Final = (*AWAY, asyncpg.PostgresError)
"""A database that is away, lets nobody in, or is of another version."""
_PROBE: Final = b"fieldward check: this wraps, and unwraps to itself."


class RefusedStartError(Exception):
    """Production does not start so. `findings` say why, each with the variable and what is expected."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("; ".join(one.refusal for one in findings))
        self.findings = findings


def refused_at_start(settings: Settings) -> list[Finding]:
    """Return what production does not start with, as far as settings and files tell."""
    return _refused((*setting_findings(settings), *file_findings(settings)))


async def require_safe_databases(databases: Databases) -> None:
    """Look at how the service is let into both databases.

    Raises:
        RefusedStartError: as somebody who may too much, or over a connection that is not safe.
        UnavailableError: one of them does not answer.
    """
    found: list[Finding] = []
    for credentials in (databases.main, databases.keystore):
        try:
            async with _connected(credentials) as connection:
                found += await role_findings(connection, credentials)
        except _NOT_LOOKED_AT as error:
            raise UnavailableError("The database does not answer, or does not let the service in.") from error
    if refused := _refused(found):
        raise RefusedStartError(refused)


async def check_deployment(settings: Settings, databases: Databases | None, *, is_embedded: bool) -> list[Finding]:
    """Return all that is found, what matters most first. databases: None where there are none yet."""
    found = [*setting_findings(settings), *file_findings(settings), *process_findings()]
    if databases is None:
        found.append(Finding(RULES["database-away"], "there is none yet"))
    else:
        found += await _database_findings(databases, is_embedded=is_embedded)
    found += await provider_findings(settings)
    return sorted(found, key=lambda one: _SEVERITIES[one.rule.severity])


async def _database_findings(databases: Databases, *, is_embedded: bool) -> list[Finding]:
    found: list[Finding] = []
    for credentials, is_keystore in ((databases.main, False), (databases.keystore, True)):
        name = str(credentials["database"])
        try:
            async with _connected(credentials) as connection:
                found += await role_findings(connection, credentials)
                found += await server_findings(connection, is_embedded=is_embedded, is_keystore=is_keystore)
                found += await clock_findings(connection)
        except _NOT_LOOKED_AT as error:
            found.append(Finding(RULES["database-away"], f"{name} ({type(error).__name__})"))
    return found


async def clock_findings(connection: asyncpg.Connection) -> list[Finding]:
    """Return whether this machine's clock is another than the database's: by more than the question took, and a bit."""
    before = datetime.now(UTC)
    theirs: datetime = await connection.fetchval("select clock_timestamp()")
    after = datetime.now(UTC)
    apart_s = max((before - theirs).total_seconds(), (theirs - after).total_seconds(), 0.0)
    if apart_s <= MOST_APART_S:
        return []
    return [Finding(RULES["clock"], f"they differ by {apart_s:.0f} seconds")]


async def provider_findings(settings: Settings) -> list[Finding]:
    """Return whether the key provider wraps, and unwraps what it wrapped."""
    context = {"purpose": "check"}
    try:
        if settings.key_provider == "file" and not (settings.data_directory / "key-encryption-key").exists():
            # It is made at the first start: to look must not make it.
            return []
        provider, _ = load_providers(settings)
        wrapped = await provider.wrap(_PROBE, context)
        if await provider.unwrap(wrapped.content, context) == _PROBE:
            return []
        why = "another value came back"
    except (WrappingKeyError, UnavailableError) as error:
        why = type(error).__name__
    return [Finding(RULES["key-provider-away"], f"{settings.key_provider} ({why})", "key_provider")]


def _refused(findings: Iterable[Finding]) -> list[Finding]:
    return [one for one in findings if one.rule.severity is Severity.REFUSED]


@asynccontextmanager
async def _connected(credentials: Credentials) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(**credentials, timeout=CONNECT_S, command_timeout=CONNECT_S)
    try:
        yield connection
    finally:
        await connection.close(timeout=CONNECT_S)
