"""What one request of each workload takes, counted: statements, decisions, bytes, bytecodes, calls. No time.

The whole application runs in this process, as for a server (`bench/in_process.py`), on the event loop that a server
runs on. Each count is the mean of a few requests, asked one after the other when everything is warm, so that it is
the same in each run.
"""

import asyncio
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import orjson
import uvloop

from bench.counts import Counts
from bench.dataset import Dataset
from bench.decisions import DecisionCount, counting_decisions
from bench.in_process import App, started
from bench.interpreter import bytecodes_of, calls_of
from bench.run import say
from bench.seed_fieldward import ORGANIZATION, Person, databases_of, seed_fieldward
from bench.server import Databases
from bench.statement_log import StatementLog, counted
from bench.targets.base import POOL_SIZE, Setting
from bench.targets.fieldward import SIGN_IN, FieldwardTarget
from bench.work import TITLES, PageTask, Work, tasks
from fieldward.settings import Settings
from fieldward.web.app import build_app

RECORDS: Final = 2000
DATABASE: Final = "counts"
REQUESTS: Final = 4
"""Requests that a count is the mean of, where a workload has so many."""
WARM_UPS: Final = 3
"""How often they are asked before anything is counted."""
ROUNDS: Final = 5
"""How often bytecodes and calls are counted; the lowest count stands."""


def measure_counts(directory: Path, databases: Databases, records: int = RECORDS) -> Counts:
    """Fill a database, and count.

    Raises:
        RefusedError: the application answered with errors.
    """
    subject = Subject(directory, databases, Dataset(records))
    return subject.measured(subject.seeded())


class Subject:
    """Fieldward over a database of its own, to be counted as often as it takes."""

    def __init__(self, directory: Path, databases: Databases, dataset: Dataset) -> None:
        self._databases = databases
        self._dataset = dataset
        self._settings = Settings(data_directory=directory / "fieldward", pool_size=POOL_SIZE)
        self._target = FieldwardTarget(Setting(dataset, databases, directory))

    def seeded(self) -> Person:
        """Make and fill the database, and return who signs in to it."""
        say(f"counts: {self._dataset.records:,} records")
        return asyncio.run(seed_fieldward(self._databases, DATABASE, self._dataset, self._settings))

    def measured(self, person: Person, works: Sequence[Work] = tuple(Work)) -> Counts:
        """Start the application, and count."""
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(self._measured(person, works))

    async def _measured(self, person: Person, works: Sequence[Work]) -> Counts:
        reached = databases_of(self._databases, DATABASE, owner=False)
        # Counted is what requests take, and not what happens beside them.
        app = build_app(self._settings, reached, has_background=False)
        async with self._databases.superuser() as superuser:
            # Before the application opens a connection.
            log = await StatementLog.of_service(superuser)
            try:
                with counting_decisions() as decisions:
                    async with started(app) as served:
                        headers = await _signed_in(served, person)
                        found = {}
                        for work in works:
                            say(f"counts: {work}: {TITLES[work]}")
                            found[work.value] = await _counts_of(served, self._bodies(work), headers, log, decisions)
            finally:
                await StatementLog.end(superuser)
        major, minor, _ = platform.python_version_tuple()
        return Counts(f"{major}.{minor}", self._dataset.records, found)

    def _bodies(self, work: Work) -> list[bytes]:
        """Return the requests: of pages the first, which need no cursor that somebody must have asked for."""
        asked = [task for task in tasks(work, self._dataset) if not isinstance(task, PageTask) or task.page == 0]
        return [orjson.dumps(self._target.body(work, task)) for task in asked[:REQUESTS]]


async def _signed_in(served: App, person: Person) -> dict[str, str]:
    given = {"email": person.email, "password": person.password, "organization": ORGANIZATION}
    body = orjson.dumps({"query": SIGN_IN, "variables": {"input": given}})
    token = orjson.loads(await served.ask(body, {}))["data"]["signIn"]["accessToken"]
    return {"authorization": f"Bearer {token}"}


async def _counts_of(
    served: App, bodies: Sequence[bytes], headers: dict[str, str], log: StatementLog, decisions: DecisionCount
) -> dict[str, float]:
    async def ask_all() -> int:
        return sum([len(await served.ask(body, headers)) for body in bodies])

    for _ in range(WARM_UPS):
        await ask_all()
    rounds = []
    for _ in range(ROUNDS):
        log.read()
        decisions.read()
        answered = await ask_all()
        rounds.append((counted(log.read()), decisions.read()))
    # What is done from time to time, and not for a request, stands in one of the rounds or the other.
    reached, decided = min(rounds, key=lambda one: (one[0].ways, one[0].statements))
    # An answer of the database that arrives in two pieces takes more of both; it does not each time.
    bytecodes = min([await bytecodes_of(ask_all) for _ in range(ROUNDS)])
    calls = min([await calls_of(ask_all) for _ in range(ROUNDS)])
    many = len(bodies)
    return {
        "ways": round(reached.ways / many, 2),
        "statements": round(reached.statements / many, 2),
        "decisions": round(decided / many, 2),
        "bytes": round(answered / many),
        "bytecodes": round(bytecodes / many),
        "calls": round(calls / many),
    }
