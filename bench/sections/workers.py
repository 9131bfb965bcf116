"""Two server processes beside one: `fieldward serve` is one process, and more of them share the databases.

The load is split by two generators with half the connections each, as a load balancer would split it.
"""

import asyncio
import statistics
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import Final

from bench.load import Counted, Load, run_load, warm_up
from bench.report import Report, heading, table
from bench.run import Plan, load_of, ready_targets, say
from bench.server import Databases
from bench.targets.fieldward import FieldwardTarget
from bench.work import TITLES, Work

WORKS: Final = (Work.A, Work.C, Work.D)


def measure_workers(plan: Plan, databases: Databases) -> Report:
    """Measure one process, then two."""
    found: dict[tuple[Work, int], list[list[Counted]]] = {}
    with ExitStack() as stack:
        (target,) = ready_targets(replace(plan, targets=["fieldward"]), databases, stack)
        assert isinstance(target, FieldwardTarget)
        for processes in (1, 2):
            if processes == 2:
                target.start(stack)
            for work in WORKS:
                bodies = target.bodies(work)
                for load in _loads(plan, target, bodies, plan.warm_up_s):
                    warm_up(load, plan.generator)
                found[work, processes] = [
                    _run(plan, _loads(plan, target, bodies, plan.seconds)) for _ in range(plan.rounds)
                ]
                say(f"{work} with {processes}: {_rate(found[work, processes]):.1f}/s")
    rows = [
        [
            f"{work}: {TITLES[work].partition(',')[0]}",
            f"{_rate(found[work, 1]):,.1f}",
            f"{_rate(found[work, 2]):,.1f}",
            f"{_rate(found[work, 2]) / _rate(found[work, 1]):.2f}",
        ]
        for work in WORKS
    ]
    lines = [
        *heading(plan.generator, f"PostgreSQL {asyncio.run(databases.version())}"),
        f"Fieldward, {plan.records:,} records; {plan.connections} connections in all; medians of {plan.rounds} rounds"
        f" of {plan.seconds:g} s. PostgreSQL and the generators share the cores with the processes.",
        "",
        *table(["workload", "one process, requests/s", "two, requests/s", "two by one"], rows),
    ]
    data = [
        {"workload": work, "processes": processes, "rounds": [[asdict(one) for one in counted] for counted in rounds]}
        for (work, processes), rounds in found.items()
    ]
    return Report("workers", lines, {"workers": data})


def _loads(plan: Plan, target: FieldwardTarget, bodies: Sequence[bytes], seconds: float) -> list[Load]:
    load = load_of(plan, target, bodies, seconds)
    connections = max(1, plan.connections // len(target.urls))
    return [replace(load, url=url, connections=connections) for url in target.urls]


def _run(plan: Plan, loads: Sequence[Load]) -> list[Counted]:
    with ThreadPoolExecutor(len(loads)) as threads:
        return list(threads.map(lambda load: run_load(load, plan.generator), loads))


def _rate(rounds: Sequence[Sequence[Counted]]) -> float:
    return statistics.median(sum(one.rate for one in counted) for counted in rounds)
