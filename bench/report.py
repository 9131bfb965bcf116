"""What is said of a run: tables for a person, JSON for a program, and the last run in the README."""

import os
import platform
import shlex
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from bench.load import Generator, pinned
from bench.run import Outcome, Window
from bench.targets.fieldward import FieldwardTarget
from bench.work import TITLES, Work

LOAD_BEFORE: Final = os.getloadavg()
"""What the machine was at when the command began: by other work than ours."""
README: Final = Path(__file__).resolve().parent / "README.md"


@dataclass(frozen=True, slots=True)
class Report:
    """A section's outcome. `name` is the README's marker."""

    name: str
    lines: Sequence[str]
    data: dict[str, Any]

    @property
    def text(self) -> str:
        """The tables as Markdown, which is what a terminal shows, too."""
        return "\n".join(self.lines)

    def write(self, note: str | None = None, path: Path = README) -> None:
        """Put the tables into the README, in the place of those of the run before."""
        begin, end = f"<!-- {self.name}: begin -->", f"<!-- {self.name}: end -->"
        before, found, rest = path.read_text().partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise LookupError(f"{path} has no place for {self.name}.")
        noted = [f"**{note}**", ""] if note else []
        path.write_text(before + "\n".join([begin, "", *noted, *self.lines, "", end]) + after)


def workload_report(outcome: Outcome) -> Report:
    """Return the tables of the workloads, the ratios first."""
    names = [name for name in outcome.plan.targets if name not in outcome.skipped]
    works = outcome.plan.works
    lines = [
        *heading(outcome.plan.generator, f"PostgreSQL {outcome.postgres}", *outcome.versions),
        _settings(outcome),
        "",
    ]
    if FieldwardTarget.name in names and len(names) > 1:
        lines += ["Fieldward's requests per second, as a multiple of each peer's:", ""]
        lines += table(
            ["peer", *works],
            [
                [name, *(_ratio(outcome, work, FieldwardTarget.name, name) for work in works)]
                for name in names
                if name != FieldwardTarget.name
            ],
        )
        lines.append("")
    for work in works:
        lines += [f"{work}: {TITLES[work]}", "", *_work_table(outcome, work, names), ""]
    lines += [f"Left out: {name}. {why}" for name, why in outcome.skipped.items()]
    return Report("workloads", lines, _data(outcome))


def heading(generator: Generator, *more: str) -> list[str]:
    """Return what every section says first: when, by which command, on which machine, with which versions."""
    command = shlex.join(["python", "-m", "bench", *sys.argv[1:]])
    load = ", ".join(f"{one:.1f}" for one in LOAD_BEFORE)
    versions = [f"Python {platform.python_version()}"]
    versions += [f"{name} {version(name)}" for name in ("strawberry-graphql", "tortoise-orm", "asyncpg", "uvicorn")]
    made_by = "wrk" if generator is Generator.WRK else "bench.client"
    where = "on the last core" if pinned() else "on any core"
    return [
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, `{command}`",
        "",
        f"{_processor()}, {os.cpu_count()} cores, {_memory_gb():.0f} GB; {platform.system()};"
        f" load average before it {load}. {', '.join((*versions, *more))}. Load by {made_by}, {where}.",
        "",
    ]


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a Markdown table whose columns stand under each other."""
    widths = [max(len(cell) for cell in column) for column in zip(heads, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        return f"| {' | '.join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)])} |"

    rule = f"|{'|'.join(['-' * (widths[0] + 2), *('-' * (width + 1) + ':' for width in widths[1:])])}|"
    return [line(heads), rule, *map(line, rows)]


def median_of(windows: Sequence[Window], value: Callable[[Window], float]) -> float:
    """Return the median of a value over rounds."""
    return statistics.median(map(value, windows))


def spread_of(windows: Sequence[Window]) -> str:
    """Return how far the rounds lie apart, in parts of their median."""
    rates = [one.counted.rate for one in windows]
    return f"{(max(rates) - min(rates)) / statistics.median(rates):.0%}"


def _settings(outcome: Outcome) -> str:
    plan = outcome.plan
    return (
        f"{plan.records:,} records; {plan.connections} connections; medians of {plan.rounds} rounds of"
        f" {plan.seconds:g} s; the spread is the rounds' largest rate less the smallest, by their median. No request"
        " failed. Every target's answers were held against the data before."
    )


def _work_table(outcome: Outcome, work: Work, names: Sequence[str]) -> list[str]:
    heads = ["target", "requests/s", "spread", "p50 ms", "p99 ms", "Fieldward's multiple", "statements", "KB"]
    rows = []
    for name in names:
        windows = outcome.windows[work, name]
        rows.append(
            [
                name,
                f"{median_of(windows, lambda one: one.counted.rate):,.1f}",
                spread_of(windows),
                f"{median_of(windows, lambda one: one.counted.p50_ms):.1f}",
                f"{median_of(windows, lambda one: one.counted.p99_ms):.1f}",
                _ratio(outcome, work, FieldwardTarget.name, name),
                f"{outcome.statements[work, name]:g}",
                f"{median_of(windows, lambda one: one.counted.answer_kb):.1f}",
                f"{median_of(windows, lambda one: one.server_cpu):.0%}",
                f"{median_of(windows, lambda one: one.postgres_cpu):.0%}",
                f"{median_of(windows, lambda one: one.rss_mb):.0f}",
            ]
        )
    return table([*heads, "server CPU", "PostgreSQL CPU", "RSS MB"], rows)


def _ratio(outcome: Outcome, work: Work, one: str, other: str) -> str:
    rate, base = outcome.rate(work, one), outcome.rate(work, other)
    return f"{rate / base:.2f}" if rate and base else "-"


def _data(outcome: Outcome) -> dict[str, Any]:
    plan = asdict(outcome.plan)
    return {
        "plan": {**plan, "directory": str(plan["directory"])},
        "skipped": outcome.skipped,
        "postgres": outcome.postgres,
        "targets": [
            {
                "workload": work,
                "target": name,
                "requests_per_second": outcome.rate(work, name),
                "statements": outcome.statements.get((work, name)),
                "rounds": [asdict(window) for window in windows],
            }
            for (work, name), windows in outcome.windows.items()
        ],
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
