"""What one server process holds of memory while it works for minutes on all that there is to ask."""

import asyncio
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import Final

from bench.load import run_load
from bench.report import Report, heading, table
from bench.run import Plan, load_of, ready_targets, say
from bench.server import Databases
from bench.targets.base import Target
from bench.work import Work

SLICE_S: Final = 30.0
"""Seconds between two looks; each slice begins with a token that is fresh."""
MIX: Final = {Work.C: 10, Work.A: 4, Work.B: 2, Work.D: 1, Work.E: 1}
"""How often each workload comes among the requests."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the process held at one moment, and what it had answered since the look before."""

    minute: float
    rss_mb: float
    rate: float


def measure_memory(plan: Plan, databases: Databases, minutes: float) -> Report:
    """Have one process work for some minutes, and look at its memory."""
    looks: list[Look] = []
    with ExitStack() as stack:
        (target,) = ready_targets(replace(plan, targets=["fieldward"]), databases, stack)
        looks.append(Look(0.0, target.usage().rss_mb, 0.0))
        bodies = _mixed(target)
        started = time.monotonic()
        while (left := minutes * 60 - (time.monotonic() - started)) > 1:
            counted = run_load(load_of(plan, target, bodies, min(SLICE_S, left)), plan.generator)
            looks.append(Look((time.monotonic() - started) / 60, target.usage().rss_mb, counted.rate))
            say(f"minute {looks[-1].minute:.1f}: {looks[-1].rss_mb:.0f} MB, {counted.rate:.1f}/s")
    half = looks[len(looks) // 2]
    shown = {"before": looks[0], "first look": looks[1], "halfway": half, "end": looks[-1]}
    lines = [
        *heading(plan.generator, f"PostgreSQL {asyncio.run(databases.version())}"),
        f"One Fieldward process, {plan.records:,} records, {plan.connections} connections, {minutes:g} minutes of mixed"
        f" load ({', '.join(f'{count} {work}' for work, count in MIX.items())}). The most seen:"
        f" {max(one.rss_mb for one in looks):.0f} MB.",
        "",
        *table(
            ["moment", "minute", "RSS MB", "requests/s"],
            [[name, f"{one.minute:.1f}", f"{one.rss_mb:.0f}", f"{one.rate:.1f}"] for name, one in shown.items()],
        ),
    ]
    return Report("memory", lines, {"minutes": minutes, "looks": [asdict(one) for one in looks]})


def _mixed(target: Target) -> list[bytes]:
    """Return requests of all workloads, the seldom ones spread among the frequent."""
    bodies = {work: target.bodies(work) for work in MIX}
    turns = sorted((place / count, work) for work, count in MIX.items() for place in range(count))
    return [
        bodies[work][(cycle * MIX[work] + place) % len(bodies[work])]
        for cycle in range(20)
        for place, (_, work) in enumerate(turns)
    ]
