"""How Fieldward's page of 100 records fares with more records, and far down a list.

The databases of this section hold no measurements, which that page does not touch. The far pages are of the list of all
records, in the order of their collection; that they are the right ones is held against the data.
"""

import asyncio
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any, Final

import orjson

from bench.answers import DisagreementError, require_rows
from bench.dataset import Dataset
from bench.load import warm_up
from bench.report import Report, heading, table
from bench.run import Plan, Window, load_of, measured, say
from bench.server import Databases
from bench.targets.base import Setting
from bench.targets.fieldward import FieldwardTarget
from bench.work import PAGE_SIZES, RECORD_FIELDS, Work

FAR: Final = 1000
"""The farthest page that is asked for, counted from one."""
PAGES: Final = 20
"""So many pages are asked for in turn, up to that one, and from the first."""
_STRIDE: Final = 1000
_PAGE: Final = (
    "query Depth($first: Int!, $after: String) { records(first: $first, after: $after) {"
    " nodes { %s } pageInfo { endCursor } } }"
)
_SHOWN: Final = _PAGE % " ".join(RECORD_FIELDS)
_WALKED: Final = _PAGE % "id"


@dataclass(frozen=True, slots=True)
class Depth:
    """What was asked of how many records, and the windows that it took."""

    records: int
    asked: str
    windows: list[Window]


def measure_depth(plan: Plan, databases: Databases, sizes: Sequence[int]) -> Report:
    """Measure the page at each size, and near and far pages of the list of all."""
    found: list[Depth] = []
    for size in sizes:
        with ExitStack() as stack:
            target = FieldwardTarget(Setting(Dataset(size), databases, plan.directory), with_measurements=False)
            say(f"fieldward: {size:,} records")
            target.prepare()
            target.start(stack)
            require_rows(target, Work.A)
            last = min(FAR, size // PAGE_SIZES[Work.A])
            first = max(0, last - PAGES)
            asked = {
                "page of a project": target.bodies(Work.A),
                f"page 1 to {last - first} of all records": _pages(target, 0, last - first),
                f"page {first + 1} to {last} of all records": _pages(target, first, last),
            }
            for name, bodies in asked.items():
                warm_up(load_of(plan, target, bodies, plan.warm_up_s), plan.generator)
                windows = [measured(plan, target, bodies) for _ in range(plan.rounds)]
                found.append(Depth(size, name, windows))
                say(f"{size:,} records, {name}: {_rate(windows):.1f}/s")
    return _report(plan, databases, found)


def _pages(target: FieldwardTarget, first: int, last: int) -> list[bytes]:
    """Return the requests for pages of the list of all records, from the page `first`, counted from nought."""
    size = PAGE_SIZES[Work.A]
    after: str | None = None
    place = 0
    while place < first * size:
        stride = min(_STRIDE, first * size - place)
        data = target.ask(_body(_WALKED, stride, after))
        after, place = data["records"]["pageInfo"]["endCursor"], place + stride
    bodies = []
    for page in range(first, last):
        body = _body(_SHOWN, size, after)
        data = target.ask(body)["records"]
        shown, expected = data["nodes"][0]["id"], f"Record:{target.dataset.record(page * size).id}"
        if shown != expected:
            raise DisagreementError(f"fieldward begins page {page + 1} with {shown}, and the data has {expected}.")
        bodies.append(orjson.dumps(body))
        after = data["pageInfo"]["endCursor"]
    return bodies


def _body(document: str, first: int, after: str | None) -> dict[str, Any]:
    return {"query": document, "operationName": "Depth", "variables": {"first": first, "after": after}}


def _rate(windows: Sequence[Window]) -> float:
    return statistics.median(one.counted.rate for one in windows)


def _report(plan: Plan, databases: Databases, found: Sequence[Depth]) -> Report:
    base = _rate(found[0].windows)
    rows = [
        [
            f"{one.records:,}",
            one.asked,
            f"{_rate(one.windows):,.1f}",
            f"{statistics.median(window.counted.p50_ms for window in one.windows):.1f}",
            f"{statistics.median(window.counted.p99_ms for window in one.windows):.1f}",
            f"{_rate(one.windows) / base:.2f}",
        ]
        for one in found
    ]
    lines = [
        *heading(plan.generator, f"PostgreSQL {asyncio.run(databases.version())}"),
        f"Fieldward, pages of 100 records with 12 fields; {plan.connections} connections; medians of {plan.rounds}"
        f" rounds of {plan.seconds:g} s.",
        "",
        *table(["records", "asked for", "requests/s", "p50 ms", "p99 ms", "of the first row"], rows),
    ]
    return Report("depth", lines, {"depth": [asdict(one) for one in found]})
