"""The application alone; counting what operations cost, and the option that writes the counts down."""

from collections.abc import AsyncIterator, Iterator
from typing import Final

import pytest
from starlette.types import ASGIApp

from bench.decisions import counting_decisions
from bench.statement_log import StatementLog
from fieldward.database import Databases
from fieldward.web.app import build_app
from schema.api import Api
from tests.conftest import Template
from tests.support.cost import CostBook, Meter
from tests.support.world import connect

_BOOK: Final = pytest.StashKey[CostBook]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--write-costs`, for `pytest tests/api/test_cost.py`."""
    parser.addoption("--write-costs", action="store_true", help="write what was counted into tests/api/costs.toml")


@pytest.fixture(scope="module")
def app(template: Template, api: Api) -> ASGIApp:
    """The application without its databases, for what needs none; where a test has a world, it uses that one's."""
    return build_app(template.settings, Databases(main={}, keystore={}), api=api)


@pytest.fixture(scope="session")
def cost_book(pytestconfig: pytest.Config) -> CostBook:
    """The costs that are expected, and counted, in this run."""
    return pytestconfig.stash.setdefault(_BOOK, CostBook.read())


@pytest.fixture(scope="session")
def writes_costs(pytestconfig: pytest.Config) -> bool:
    """Whether what is counted is written down and not compared."""
    return bool(pytestconfig.getoption("--write-costs", default=False))


@pytest.fixture
async def log(template: Template) -> AsyncIterator[StatementLog]:
    """The log of what the service sends to PostgreSQL. To be asked for before the world, which opens connections."""
    superuser = await connect(template.postgres.superuser())
    try:
        yield await StatementLog.of_service(superuser)
        await StatementLog.end(superuser)
    finally:
        await superuser.close()


@pytest.fixture
def meter(log: StatementLog) -> Iterator[Meter]:
    """Counts what a piece of work sends and decides. To be asked for before the world, which opens connections."""
    with counting_decisions() as decisions:
        yield Meter(log, decisions)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which costs are others than before, and how that is written down."""
    book = config.stash.get(_BOOK, None)
    changes = book.changes() if book is not None else []
    if not changes:
        return
    terminalreporter.section("costs that changed")
    for change in changes:
        terminalreporter.write_line(change)
    if not config.getoption("--write-costs", default=False):
        terminalreporter.write_line("If they must be so: make costs")
