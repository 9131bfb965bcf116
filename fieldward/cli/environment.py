"""What every command stands on: the settings, the database, and the keyring while it runs."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar
from uuid import UUID

from pydantic import ValidationError

from auth.principal import SYSTEM_ID, Channel, Origin
from fieldward.backup.line import Archiving
from fieldward.container import build_services, require_own_key_file
from fieldward.database import Databases, DatabaseUrlError, credentials_of, open_pools
from fieldward.embedded import DirectoryInUseError, EmbeddedPostgres, EmbeddedPostgresError
from fieldward.settings import Settings
from models.base import new_id
from models.errors import UnavailableError
from resolvers.erasure import apply_erasures, organization_named
from resolvers.services import Services
from resolvers.trail import Actor

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reach:
    """How the databases are reached as the service, and as the owner."""

    service: Databases
    owner: Databases | None
    embedded: EmbeddedPostgres | None = None


def load_settings() -> Settings:
    """Read the settings, or exit with 2 naming the variable that is wrong; never its value."""
    try:
        return Settings()
    except ValidationError as error:
        for one in error.errors(include_input=False, include_url=False):
            name = "FIELDWARD_" + "_".join(str(part) for part in one["loc"]).upper() + ": " if one["loc"] else ""
            print(f"fieldward: {name}{one['msg']}", file=sys.stderr)
        sys.exit(2)


@contextmanager
def reach(settings: Settings, *, may_join: bool = False, only_looks: bool = False) -> Iterator[Reach]:
    """Yield how the databases are reached; the embedded one is started, and stopped at the end.

    may_join: where another process has started the embedded one, reach that, and leave it to that process.
    only_looks: its archive goes on as if it had not been started.
    """
    if not settings.is_embedded:
        service = _databases(settings, "database_url", "keystore_url")
        owner = _databases(settings, "owner_database_url", "owner_keystore_url")
        if service is None:
            refuse("FIELDWARD_DATABASE_URL: expected, beside the other database URLs")
        yield Reach(service=service, owner=owner)
        return
    if may_join and not (settings.data_directory / "postgres").exists():
        refuse(f"there is no database in {settings.data_directory} yet: FIELDWARD_DATA_DIRECTORY says where", code=1)
    # Asked to end before it serves, the command still stops what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    postgres = EmbeddedPostgres(settings.data_directory, archiving=archiving(settings), only_looks=only_looks)
    try:
        try:
            postgres.start()
        except DirectoryInUseError:
            if not may_join:
                raise
            postgres.join()
    except EmbeddedPostgresError as error:
        refuse(str(error), code=1)
    try:
        yield Reach(
            service=embedded_databases(postgres, owner=False),
            owner=embedded_databases(postgres, owner=True),
            embedded=postgres,
        )
    finally:
        try:
            postgres.stop()
        except EmbeddedPostgresError as error:
            refuse(str(error), code=1)


def archiving(settings: Settings) -> Archiving | None:
    """Return where the embedded database is archived to; None where it is not."""
    directory = settings.backup_directory
    return None if directory is None else Archiving(directory, settings.backup_archive_timeout_s)


def embedded_databases(postgres: EmbeddedPostgres, *, owner: bool) -> Databases:
    """Return how the embedded databases are reached, as their owner or as the service."""
    role = postgres.owner if owner else postgres.service
    return Databases(main=role("fieldward").dsn_parameters(), keystore=role("fieldward_keys").dsn_parameters())


@asynccontextmanager
async def services(settings: Settings, databases: Databases) -> AsyncIterator[Services]:
    """Yield the services, with open pools and an active keyring."""
    built = build_services(settings)
    async with open_pools(databases, settings):
        with built.keyring.activate():
            try:
                await require_own_key_file(built)
                await apply_erasures(built, operator())
                yield built
            finally:
                with suppress(UnavailableError):
                    await built.keyring.tell_seals()
                built.keyring.wipe()


async def trail_named(services: Services, slug: str) -> UUID:
    """Return whose trail is meant: an organization's, by its slug, or with `-` that of what was done in none."""
    return SYSTEM_ID if slug == "-" else await organization_named(services, slug)


def operator() -> Actor:
    """Return who acts on the command line when nobody else is named."""
    return Actor(
        organization_id=SYSTEM_ID,
        origin=Origin(channel=Channel.COMMAND, request_id=new_id(), client_name="fieldward"),
    )


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work."""
    return asyncio.run(work)


def refuse(message: str, *, code: int = 2) -> NoReturn:
    """Say in one line why a command does nothing, and exit: 2 for how it was called, 1 for what it met."""
    print(f"fieldward: {message}", file=sys.stderr)
    sys.exit(code)


def _databases(settings: Settings, main: str, keystore: str) -> Databases | None:
    """Return how two databases are reached as one role; None where neither is named."""
    urls = {name: getattr(settings, name) for name in (main, keystore)}
    missing = [name for name, url in urls.items() if url is None]
    if len(missing) == len(urls):
        return None
    for name in missing:
        refuse(f"FIELDWARD_{name.upper()}: expected, beside the other database URLs")
    found = []
    for name, url in urls.items():
        try:
            found.append(credentials_of(url.get_secret_value()))
        except DatabaseUrlError as error:
            refuse(f"FIELDWARD_{name.upper()}: {error}")
    return Databases(*found)
