"""What encryption costs: a page of 1,000 records with one encrypted column read, against the same page with it plain.

The plain column holds the very texts of the encrypted one, and is asked for in its place; all other fields are the
same. The encrypted one's read log is part of it: an entry with a thousand rows that is committed before the answer
leaves. And what an encrypted column costs that nobody asks for: the page of a project
whose records have one, against the page of another whose records have none.

In this process, with its application whole and PostgreSQL beside it, by the clock. The kinds take turns.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Final

import asyncpg
import orjson

from bench.dataset import Dataset
from bench.in_process import App, started
from bench.report import Report, heading, table
from bench.run import Plan, say
from bench.seed_fieldward import ORGANIZATION, Person, databases_of, seed_fieldward
from bench.server import Databases
from bench.targets.base import POOL_SIZE, RefusedError
from bench.targets.fieldward import SIGN_IN
from bench.work import PAGE_SIZES, RECORD_FIELDS, Work
from fieldward.settings import Settings
from fieldward.web.app import build_app


class Cipher(StrEnum):
    """What values are sealed with."""

    GCM_SIV = "AES-256-GCM-SIV"
    GCM = "AES-256-GCM"


TURNS: Final = 25
"""Pages of each kind in a round."""
MOST_READ: Final = 1.25
MOST_UNREAD: Final = 1.02
"""What reading one encrypted column may cost at the most, and what not reading it may, as ratios."""

SEALED: Final = "comment"
PLAIN: Final = "method"
"""The columns that hold the same text."""
_OTHERS: Final = tuple(name for name in RECORD_FIELDS if name not in {SEALED, PLAIN})
_PAGE: Final = (
    "query E($project: ID!, $first: Int!) {{ records(filter: {{projectId: {{eq: $project}}}}, first: $first) {{"
    " nodes {{ {} }} pageInfo {{ hasNextPage endCursor }} }} }}"
)
_DATABASE: Final = "encryption"
WITH, WITHOUT = 0, 1
"""The project whose records have the encrypted column, and the one whose records have none."""
KINDS: Final = {
    "sealed": (WITH, SEALED),
    "plain": (WITH, PLAIN),
    "unread": (WITH, ""),
    "absent": (WITHOUT, ""),
}
"""The pages: of which project, with which column."""


def measure_encryption(plan: Plan, databases: Databases, cipher: Cipher = Cipher.GCM_SIV) -> Report:
    """Measure the pages in turns. cipher: what the column is sealed with."""
    times = asyncio.run(_measure(plan, databases, cipher))
    read, unread = _ratio(times, "sealed", "plain"), _ratio(times, "unread", "absent")
    lines = [
        *heading(plan.generator, f"PostgreSQL {asyncio.run(databases.version())}"),
        f"A page of {PAGE_SIZES[Work.E]:,} of {plan.records:,} records with {len(_OTHERS) + 1} fields, sealed with"
        f" {cipher}, in one process without a socket; medians of {TURNS} turns, {plan.rounds} rounds.",
        "",
        *table(
            ["page", "ms", "ratio", "spread of the ratio", "at most"],
            [
                ["with an encrypted column, and the log of its reading", *_row(times, "sealed", read), f"{MOST_READ}"],
                ["with the same text in a plain column", *_row(times, "plain", None), ""],
                ["without the encrypted column, which is there", *_row(times, "unread", unread), f"{MOST_UNREAD}"],
                ["without it, where there is none", *_row(times, "absent", None), ""],
            ],
        ),
        "",
        f"Reading: {_verdict(read, MOST_READ)}. Not reading: {_verdict(unread, MOST_UNREAD)}.",
    ]
    data = {"read": {"ratios": read, "most": MOST_READ}, "unread": {"ratios": unread, "most": MOST_UNREAD}}
    return Report(f"encryption with {cipher}", lines, {f"encryption with {cipher}": data})


Times = Mapping[str, list[list[float]]]
"""Milliseconds by kind of page, round by round."""


async def _measure(plan: Plan, databases: Databases, cipher: Cipher) -> Times:
    dataset = Dataset(plan.records)
    if dataset.projects < 2:
        raise RefusedError("Expected records of two projects at least.")
    settings = Settings(data_directory=plan.directory / "fieldward", pool_size=POOL_SIZE, cipher=cipher.value)
    say(f"encryption: {plan.records:,} records, {cipher}")
    person = await seed_fieldward(databases, _DATABASE, dataset, settings, with_measurements=False)
    await _lay_out(databases, dataset)
    times: dict[str, list[list[float]]] = {name: [] for name in KINDS}
    async with _application(databases, settings, person, dataset) as page:
        for _ in range(plan.rounds):
            found: dict[str, list[float]] = {name: [] for name in KINDS}
            for turn in range(TURNS):
                # To and fro, so that each follows the others as often as it goes before them.
                for name, (project, column) in list(KINDS.items())[:: -1 if turn % 2 else 1]:
                    found[name].append(await page.ask(project, column))
            for name in KINDS:
                times[name].append(found[name])
            say(f"encryption: {_ratio(times, 'sealed', 'plain')[-1]:.3f}, {_ratio(times, 'unread', 'absent')[-1]:.3f}")
    return times


class _Page:
    """The page, as somebody asks for it."""

    def __init__(self, app: App, token: str, dataset: Dataset) -> None:
        self._app = app
        self._headers = {"authorization": f"Bearer {token}"}
        self._projects = [f"Project:{dataset.project(number).id}" for number in (WITH, WITHOUT)]

    async def ask(self, project: int, column: str) -> float:
        """Return the milliseconds that the page of a project took with this column beside the others."""
        variables = {"project": self._projects[project], "first": PAGE_SIZES[Work.E]}
        body = orjson.dumps({"query": _PAGE.format(" ".join((*_OTHERS, column))), "variables": variables})
        began = time.perf_counter()
        answer = await self._app.ask(body, self._headers)
        took = (time.perf_counter() - began) * 1000
        nodes = orjson.loads(answer)["data"]["records"]["nodes"]
        if len(nodes) != PAGE_SIZES[Work.E] or (column and not all(node[column] for node in nodes)):
            raise RuntimeError("The page was not answered whole.")
        return took


@asynccontextmanager
async def _application(
    databases: Databases, settings: Settings, person: Person, dataset: Dataset
) -> AsyncIterator[_Page]:
    app = build_app(settings, databases_of(databases, _DATABASE, owner=False), has_background=False)
    async with started(app) as running:
        given = {"email": person.email, "password": person.password, "organization": ORGANIZATION}
        answer = await running.ask(orjson.dumps({"query": SIGN_IN, "variables": {"input": given}}), {})
        page = _Page(running, orjson.loads(answer)["data"]["signIn"]["accessToken"], dataset)
        for project, column in KINDS.values():
            for _ in range(5):
                await page.ask(project, column)
        yield page


async def _lay_out(databases: Databases, dataset: Dataset) -> None:
    """Put the texts into the plain column, too; take those of one project away; have projects lie apart on disk."""
    async with databases.superuser(_DATABASE) as superuser:
        await superuser.execute("create temporary table said (id uuid, text text)")
        said = [(record.id, record.comment) for record in dataset.all_records()]
        await superuser.copy_records_to_table("said", records=said)
        await _change(superuser, f"update record r set {PLAIN} = s.text from said s where s.id = r.id")
        without = dataset.project(WITHOUT).id
        await _change(superuser, f"update record set {SEALED} = null where project_id = $1", without)
        index = await superuser.fetchval(
            "select indexname from pg_indexes where tablename = 'record' and indexdef like '%project_id, collected_at%'"
        )
        await superuser.execute(f'cluster record using "{index}"')
    await databases.settle(_DATABASE)


async def _change(superuser: asyncpg.Connection, text: str, *arguments: object) -> None:
    """Change rows past the triggers: they are made up, and so is this."""
    await superuser.execute("alter table record disable trigger user")
    await superuser.execute(text, *arguments)
    for trigger in ("change_insert", "change_update", "change_delete", "refuse"):
        await superuser.execute(f"alter table record enable always trigger {trigger}")


def _ratio(times: Times, name: str, to: str) -> list[float]:
    return [
        statistics.median(one) / statistics.median(other) for one, other in zip(times[name], times[to], strict=True)
    ]


def _row(times: Times, name: str, ratios: list[float] | None) -> list[str]:
    took = statistics.median(one for found in times[name] for one in found)
    if ratios is None:
        return [f"{took:.2f}", "1.000", ""]
    return [f"{took:.2f}", f"{statistics.median(ratios):.3f}", f"{max(ratios) - min(ratios):.3f}"]


def _verdict(ratios: list[float], most: float) -> str:
    ratio = statistics.median(ratios)
    return f"{ratio:.3f}, the limit is {most:.2f}: {'kept' if ratio <= most else 'MISSED'}"
