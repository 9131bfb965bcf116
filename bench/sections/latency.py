"""How long requests take when a server is half busy: at a set pace, half of what it answers at the most.

The pace is kept whether or not answers come, and a latency counts from when its request was due.
"""

import asyncio
import statistics
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace

from bench.load import Counted, run_load
from bench.report import Report, heading, table
from bench.run import Plan, load_of, ready_targets, say
from bench.server import Databases
from bench.work import Work


@dataclass(frozen=True, slots=True)
class Paced:
    """What a target answered at the most, and what it took at half of that."""

    work: Work
    target: str
    most: float
    rounds: list[Counted]

    @property
    def p50_ms(self) -> float:
        """The median of the rounds' medians."""
        return statistics.median(one.p50_ms for one in self.rounds)

    @property
    def p99_ms(self) -> float:
        """The median of the rounds' 99th percentiles."""
        return statistics.median(one.p99_ms for one in self.rounds)


def measure_latency(plan: Plan, databases: Databases) -> Report:
    """Measure each workload at half the pace that was the most."""
    found = []
    with ExitStack() as stack:
        for target in ready_targets(plan, databases, stack):
            for work in plan.works:
                load = load_of(plan, target, target.bodies(work), plan.seconds)
                most = run_load(load, plan.generator).rate
                rounds = [
                    run_load(replace(load, headers=target.headers(), rate=most / 2), plan.generator)
                    for _ in range(plan.rounds)
                ]
                found.append(Paced(work, target.name, most, rounds))
                say(f"{work} {target.name}: p99 {found[-1].p99_ms:.1f} ms at {most / 2:.1f}/s")
    rows = [
        [
            f"{one.work} {one.target}",
            f"{one.most:,.1f}",
            f"{one.most / 2:,.1f}",
            f"{one.p50_ms:.1f}",
            f"{one.p99_ms:.1f}",
        ]
        for one in found
    ]
    lines = [
        *heading(plan.generator, f"PostgreSQL {asyncio.run(databases.version())}"),
        f"{plan.records:,} records; at most {plan.connections} connections; medians of {plan.rounds} rounds of"
        f" {plan.seconds:g} s. What comes at a pace is sent by bench.client.",
        "",
        *table(["workload", "most, requests/s", "pace, requests/s", "p50 ms", "p99 ms"], rows),
    ]
    return Report("latency", lines, {"latency": [asdict(one) for one in found]})
