"""One run: the targets are made, held against the data, and measured in turn, so that all meet the same machine."""

import asyncio
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.answers import require_agreement
from bench.dataset import Dataset
from bench.load import Counted, Generator, Load, run_load, warm_up
from bench.seed_peers import seed_peers
from bench.server import Databases, StatementCount
from bench.targets.base import Setting, Target, UnavailableTargetError
from bench.targets.directus import DirectusTarget
from bench.targets.fieldward import FieldwardTarget
from bench.targets.postgraphile import PostgraphileTarget
from bench.targets.python_app import LimitTarget, PlainTarget
from bench.work import Work, tasks

TARGETS: Final[dict[str, type[Target]]] = {
    one.name: one for one in (FieldwardTarget, PostgraphileTarget, DirectusTarget, PlainTarget, LimitTarget)
}
COUNTED_REQUESTS: Final = 5
"""So many requests are sent one by one while statements are counted."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does."""

    directory: Path
    targets: Sequence[str] = tuple(TARGETS)
    works: Sequence[Work] = tuple(Work)
    records: int = 100_000
    rounds: int = 3
    seconds: float = 10.0
    connections: int = 16
    generator: Generator = Generator.OWN
    warm_up_s: float = 2.0
    """How long a target is warmed up before its first window of a workload."""


@dataclass(frozen=True, slots=True)
class Window:
    """What one window of one target has shown."""

    counted: Counted
    server_cpu: float
    postgres_cpu: float
    rss_mb: float


@dataclass(slots=True)
class Outcome:
    """What a run has shown: windows by workload and target, and which targets were left out, and why."""

    plan: Plan
    windows: dict[tuple[Work, str], list[Window]] = field(default_factory=dict)
    statements: dict[tuple[Work, str], float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    postgres: str = ""
    versions: list[str] = field(default_factory=list)

    def rate(self, work: Work, target: str) -> float | None:
        """Return the median of a target's requests per second; None where it was not measured."""
        found = self.windows.get((work, target))
        return statistics.median(one.counted.rate for one in found) if found else None


def say(message: str) -> None:
    """Tell whoever waits what is being done."""
    print(f"[{time.strftime('%H:%M:%S')}] {message}", file=sys.stderr, flush=True)


def measure_targets(plan: Plan, databases: Databases) -> Outcome:
    """Make the targets, hold their answers against the data, and measure them.

    Raises:
        DisagreementError: a target answers something else than the data holds.
        LoadError: a request failed.
    """
    outcome = Outcome(plan, postgres=asyncio.run(databases.version()))
    with ExitStack() as stack:
        targets = ready_targets(plan, databases, stack, outcome.skipped)
        outcome.versions = [target.version for target in targets if target.version]
        say("count statements")
        with databases.counting() as count:
            for target in targets:
                for work in plan.works:
                    outcome.statements[work, target.name] = _count_statements(count, target, work)
        for number in range(plan.rounds):
            for work in plan.works:
                # Each round begins with another target, so that none is always the one after the heaviest.
                for target in [*targets[number % len(targets) :], *targets[: number % len(targets)]]:
                    window = _window(plan, target, work, is_first=number == 0)
                    outcome.windows.setdefault((work, target.name), []).append(window)
                    counted = window.counted
                    say(
                        f"round {number + 1} {work} {target.name:<13}{counted.rate:9.1f}/s"
                        f"  p50 {counted.p50_ms:8.2f} ms  p99 {counted.p99_ms:8.2f} ms"
                    )
    return outcome


def ready_targets(
    plan: Plan, databases: Databases, stack: ExitStack, skipped: dict[str, str] | None = None
) -> list[Target]:
    """Make the plan's targets and start them; note in `skipped` which can't be had, and why.

    Raises:
        DisagreementError: a target answers something else than the data holds.
    """
    setting = Setting(Dataset(plan.records), databases, plan.directory)
    if any(name != FieldwardTarget.name for name in plan.targets):
        say(f"the peers' tables: {plan.records:,} records")
        asyncio.run(seed_peers(setting.databases, setting.dataset))
    targets = []
    for name in plan.targets:
        target = TARGETS[name](setting)
        say(f"{name}: prepare")
        try:
            target.prepare()
        except UnavailableTargetError as error:
            say(f"{name}: SKIPPED: {error}")
            if skipped is not None:
                skipped[name] = str(error)
            continue
        targets.append(target)
    for target in targets:
        say(f"{target.name}: start")
        target.start(stack)
    for target in targets:
        say(f"{target.name}: hold the answers against the data")
        require_agreement(target)
    return targets


def _window(plan: Plan, target: Target, work: Work, *, is_first: bool) -> Window:
    bodies = target.bodies(work)
    if is_first:
        warm_up(load_of(plan, target, bodies, plan.warm_up_s), plan.generator)
    return measured(plan, target, bodies)


def measured(plan: Plan, target: Target, bodies: Sequence[bytes]) -> Window:
    """Send a target the bodies for one window."""
    asyncio.run(target.setting.databases.checkpoint())
    return window_of(target, lambda: run_load(load_of(plan, target, bodies, plan.seconds), plan.generator))


def window_of(target: Target, make_load: Callable[[], Counted]) -> Window:
    """Make a load, and return what was counted and what the target and PostgreSQL used meanwhile."""
    databases = target.setting.databases
    server, postgres, started = target.usage(), databases.usage(), time.monotonic()
    counted = make_load()
    passed = time.monotonic() - started
    server_after, postgres_after = target.usage(), databases.usage()
    return Window(
        counted=counted,
        server_cpu=(server_after.cpu_s - server.cpu_s) / passed,
        postgres_cpu=(postgres_after.cpu_s - postgres.cpu_s) / passed,
        rss_mb=server_after.rss_mb,
    )


def load_of(plan: Plan, target: Target, bodies: Sequence[bytes], seconds: float) -> Load:
    """Return the load of a plan on a target."""
    return Load(target.url, target.headers(), bodies, plan.connections, seconds)


def _count_statements(count: StatementCount, target: Target, work: Work) -> float:
    asked = [target.body(work, task) for task in tasks(work, target.dataset)[:COUNTED_REQUESTS]]
    headers = target.headers()

    def ask_all() -> None:
        for body in asked:
            target.ask(body, headers)

    # Once before, so that what is asked only once is not counted.
    ask_all()
    return count.during(target.database, ask_all) / len(asked)
