"""One server process, one database and one cast for the whole sweep; and the count of what was tried."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from fieldward.cli.environment import embedded_databases, services
from fieldward.database import Databases
from schema.api import Api
from tests.conftest import SWEPT, Template
from tests.support.alarm_servers import mailbox
from tests.support.served import serving
from tests.support.server import free_port, own_data_directory
from tests.support.world import World, connect
from tests.sweep.contract import Contract, introspect
from tests.sweep.facts import Facts, load_facts
from tests.sweep.page import Page, read_page
from tests.sweep.stage import Cast, set_the_stage

DATABASE = "test_sweep"


@dataclass
class Tally:
    """The combinations that were tried: who, which field, with which argument."""

    tried: dict[str, set[tuple[str, str, str]]] = field(default_factory=dict)

    def note(self, part: str, who: object, what: str, argument: str = "") -> None:
        """Note one combination."""
        self.tried.setdefault(part, set()).add((str(who), what, argument))

    def of(self, part: str, who: object) -> int:
        """Return how many were tried in a part by somebody."""
        return Counter(one for one, _, _ in self.tried.get(part, set()))[str(who)]


_TALLY = Tally()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leave how much was tried where the run's summary finds it, in this process or in the one that started it."""
    counts = {part: len(tried) for part, tried in _TALLY.tried.items()}
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["swept"] = counts
    elif counts:
        # The one that started others has tried nothing itself, and was told by them.
        session.config.stash[SWEPT] = counts


@pytest.fixture(scope="session")
def tally() -> Tally:
    """The count of the run."""
    return _TALLY


@pytest.fixture(scope="session")
def page() -> Page:
    """What the committed page says."""
    return read_page()


@pytest.fixture(scope="package")
def cast(template: Template, api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cast]:
    """Everybody, over a server that runs as long as the sweep."""
    postgres = template.postgres

    async def create() -> None:
        superuser = await connect(postgres.superuser())
        try:
            await superuser.execute(f"create database {DATABASE} template fieldward strategy file_copy")
            await superuser.execute(f"grant connect on database {DATABASE} to fieldward_service")
        finally:
            await superuser.close()

    async def drop() -> None:
        superuser = await connect(postgres.superuser())
        try:
            await superuser.execute(f"drop database {DATABASE} with (force)")
        finally:
            await superuser.close()

    async def stage(url: str, calls: httpx.Client) -> Cast:
        keystore = embedded_databases(postgres, owner=False).keystore
        reached = Databases(main={**postgres.service(DATABASE).dsn_parameters()}, keystore=keystore)
        async with (
            services(template.settings, reached) as built,
            httpx.AsyncClient(base_url=url, timeout=60) as http,
        ):
            world = World(
                http=http,
                api=api,
                services=built,
                passwords=template.passwords,
                superuser=postgres.superuser(DATABASE),
                service=postgres.service(DATABASE),
                owner=postgres.owner(DATABASE),
                keystore=postgres.service("fieldward_keys"),
            )
            return await set_the_stage(world, calls)

    asyncio.run(create())
    log: Path = tmp_path_factory.mktemp("sweep") / "server.log"
    directory = own_data_directory(template.settings.data_directory, tmp_path_factory.mktemp("served") / "data")
    keys, mail_port = postgres.service("fieldward_keys"), free_port()
    try:
        with (
            mailbox(mail_port, None),
            serving(postgres.service(DATABASE), keys, directory, log, mail_port=mail_port) as url,
            httpx.Client(base_url=url, timeout=60) as calls,
        ):
            yield asyncio.run(stage(url, calls))
    finally:
        asyncio.run(drop())


@pytest.fixture(scope="package")
def contract(cast: Cast) -> Contract:
    """The contract, as an owner is told it."""
    return introspect(cast.principals["owner"].caller)


@pytest.fixture(scope="module")
def facts(page: Page, contract: Contract, cast: Cast) -> Facts:
    """What there is at the start of this module."""
    return asyncio.run(load_facts(page, contract, cast))
