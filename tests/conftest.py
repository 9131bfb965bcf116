"""One PostgreSQL a run, the demo loaded once into a template database, and a copy of it for each test."""

import asyncio
import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import structlog
import tortoise.apps
from hypothesis import settings as hypothesis_settings
from xdist.scheduler import LoadScopeScheduling

from fieldward.cli.environment import embedded_databases, operator, services
from fieldward.container import DESTRUCTIONS, build_services
from fieldward.database import Databases, migrate, open_pools
from fieldward.demo.load import DemoReport, load_demo, new_passwords
from fieldward.embedded import EmbeddedPostgres
from fieldward.logs import configure_logs
from fieldward.settings import Settings
from fieldward.web.app import build_app
from schema.api import Api, build_api
from tests.support.server import Server, free_port, start_demo
from tests.support.world import World, connect

# A run that a shell started in the background has Ctrl-C ignored, and so would have all that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

configure_logs("json")
_LOG = structlog.get_config()["logger_factory"]

# Twenty times the examples of an everyday run: `pytest --hypothesis-profile=drill`.
hypothesis_settings.register_profile("drill", max_examples=2000)


LONGEST: Final = ("tests/sweep", "tests/acceptance", "tests/drill")
"""The folders whose files take longest. They come first: at the end no process waits for another's."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest."""
    items.sort(key=lambda item: LONGEST.index(folder) if (folder := _folder(item.nodeid)) in LONGEST else len(LONGEST))


def _folder(nodeid: str) -> str:
    return "/".join(nodeid.split("/", 2)[:2])


# xdist has no types.
class _Sharing(LoadScopeScheduling):  # type: ignore[misc]
    """Keeps what shares something in one process, where a run has several: the sweep, and the tests of one file.

    Not by the groups of `--dist loadgroup`: they are written where pytest 9.2 does not look any more.
    """

    def _split_scope(self, nodeid: str) -> str:
        return _folder(nodeid) if _folder(nodeid) == "tests/sweep" else nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _Sharing:
    """Say how tests are parted among processes."""
    return _Sharing(config, log)


SWEPT = pytest.StashKey[dict[str, int]]()
"""How many combinations the sweep has tried, by its parts."""


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take what a process of the run has tried. The sweep is all in one of them."""
    counts = getattr(node, "workeroutput", {}).get("swept")
    if counts:
        node.config.stash[SWEPT] = counts


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how much the sweep tried."""
    counts = config.stash.get(SWEPT, {})
    if counts:
        parts = ", ".join(f"{name} {count}" for name, count in counts.items())
        terminalreporter.write_line(
            f"schema sweep: {sum(counts.values())} combinations of principal, field and argument ({parts})"
        )


MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108  (made private below it)
"""Where a copy of the database for each test is written to memory and not to a disk."""

KEYSTORE_TEMPLATE = "keys_of_the_demo"
"""The keystore as the demo leaves it, without what tests make in the run's."""

FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "60"}


@pytest.fixture(scope="session", autouse=True)
def models() -> Iterator[None]:
    """Have Tortoise set up the models once a process, and not for each test: they are the same for all databases."""
    kept: dict[str, tortoise.apps.Apps] = {}
    set_up = tortoise.apps.Apps

    def once(config: dict[str, Any], *arguments: Any, **named: Any) -> tortoise.apps.Apps:
        return kept.get(repr(config)) or kept.setdefault(repr(config), set_up(config, *arguments, **named))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tortoise.apps, "Apps", once)
        yield


@pytest.fixture(autouse=True)
def log_stays() -> Iterator[None]:
    """Have no test leave the log written to where that test alone listened: later ones could write no line of it."""
    yield
    is_ours = structlog.get_config()["logger_factory"] is _LOG
    if not is_ours:
        configure_logs("json")
    assert is_ours, "the log was set up anew: run such a command as a process of its own"


@dataclass(frozen=True)
class Template:
    """The run's PostgreSQL, and what was loaded into the database that tests copy."""

    postgres: EmbeddedPostgres
    settings: Settings
    passwords: dict[str, str]
    report: DemoReport


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """The run's PostgreSQL."""
    directory = Path(tempfile.mkdtemp(prefix="fw", dir=MEMORY))
    server = EmbeddedPostgres(directory, settings=FAST)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def template(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Template:
    """The demo, loaded once."""
    settings = Settings(
        data_directory=tmp_path_factory.mktemp("keys"),
        password_cost="test",
        pool_size=10,
        rate_limit_requests=0,
        rate_limit_cost=0,
        anonymous_rate_limit_requests=0,
        anonymous_rate_limit_cost=0,
        concurrency=0,
        anonymous_concurrency=0,
        # Nothing listens there unless a test does: what is sent waits.
        smtp_host="127.0.0.1",
        smtp_port=free_port(),
        smtp_security="none",
        smtp_from="fieldward@fieldward.example",
        public_url="https://fieldward.example",
    )
    passwords = new_passwords()

    async def load() -> DemoReport:
        await migrate(embedded_databases(postgres, owner=True), settings)
        async with services(settings, embedded_databases(postgres, owner=False)) as built:
            report = await load_demo(built, operator(), passwords)
        superuser = await connect(postgres.superuser())
        await superuser.execute(f"create database {KEYSTORE_TEMPLATE} template fieldward_keys owner fieldward_owner")
        await superuser.close()
        return report

    return Template(postgres, settings, passwords, asyncio.run(load()))


@pytest.fixture(scope="session")
def api() -> Api:
    """The schema, built once: it holds no state of a request."""
    return build_api()


_numbers = itertools.count(1)


@pytest.fixture
async def databases(template: Template) -> AsyncIterator[str]:
    """The name of this test's copy of the demo's database."""
    name = f"test_{next(_numbers)}"
    superuser = await connect(template.postgres.superuser())
    try:
        await superuser.execute(f"create database {name} template fieldward strategy file_copy owner fieldward_owner")
        # A copy has the template's content and not its grants.
        await superuser.execute(
            f"revoke all on database {name} from public; grant connect on database {name} to fieldward_service"
        )
        yield name
        await superuser.execute(f"drop database {name} with (force)")
    finally:
        await superuser.close()


@pytest.fixture
def keystore_database() -> str:
    """The name of the keystore: the run's, which all tests share. Who replaces its keys takes `own_keystore`."""
    return "fieldward_keys"


@pytest.fixture
async def own_keystore(template: Template) -> AsyncIterator[str]:
    """The name of a copy of the demo's keystore."""
    name = f"keys_{next(_numbers)}"
    superuser = await connect(template.postgres.superuser())
    try:
        await superuser.execute(f"create database {name} template {KEYSTORE_TEMPLATE} owner fieldward_owner")
        await superuser.execute(
            f"revoke all on database {name} from public; grant connect on database {name} to fieldward_service"
        )
        yield name
        await superuser.execute(f"drop database {name} with (force)")
    finally:
        await superuser.close()


async def _forget_destructions(template: Template) -> None:
    """Have nobody be erased in a test's database because they were in another's: the log of it is the run's."""
    file = template.settings.data_directory / DESTRUCTIONS
    if file.exists():
        superuser = await connect(template.postgres.superuser("fieldward_keys"))
        await superuser.execute("delete from destruction")
        await superuser.close()
        file.unlink()


@pytest.fixture
async def world(template: Template, databases: str, keystore_database: str, api: Api) -> AsyncIterator[World]:
    """This test's world: the application in this process, over its own database."""
    postgres = template.postgres
    reached = Databases(
        main={**postgres.service(databases).dsn_parameters()},
        keystore={**postgres.service(keystore_database).dsn_parameters()},
    )
    settings = template.settings
    await _forget_destructions(template)
    app = build_app(settings, reached, api=api)
    built = build_services(settings)
    # All tests share a data directory; each one's database would be another's that was set back.
    built = replace(built, sealer=replace(built.sealer, guard=None))
    async with (
        open_pools(reached, settings),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://fieldward.test") as http,
    ):
        made = World(
            http=http,
            api=api,
            services=built,
            passwords=template.passwords,
            superuser=postgres.superuser(databases),
            service=postgres.service(databases),
            owner=postgres.owner(databases),
            keystore=postgres.service(keystore_database),
            keeps_connection=True,
        )
        with built.keyring.activate():
            yield made
        await made.close()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The demo as a process of its own."""
    # Not below pytest's own directories: another run may close those, and then the database's user is shut out.
    directory = Path(tempfile.mkdtemp(prefix="fw"))
    started = start_demo(directory / "demo", free_port())
    try:
        yield started
    finally:
        code = started.stop()
        shutil.rmtree(directory, ignore_errors=True)
    assert code == 0
