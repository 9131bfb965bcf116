"""What the guards cost: a page of 1,000 records with all of them, against the same page with each one answering yes.

In this process, without HTTP, so that nothing but the execution of the operation is compared. What is replaced is the
decision (`schema/completion.py: Batch.readable` and `schema/context.py: RequestContext.allows`); the rest of the
operation is the same. The two take turns, and processor time is counted, which other work on the machine disturbs
less than it does the clock.
"""

import asyncio
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from unittest.mock import patch

from auth.principal import Channel, Origin, Viewer
from bench.dataset import Dataset
from bench.report import Report, heading, table
from bench.run import Plan, say
from bench.seed_fieldward import ORGANIZATION, databases_of, seed_fieldward
from bench.server import Databases
from bench.targets.base import POOL_SIZE
from bench.targets.fieldward import DOCUMENTS
from bench.work import PAGE_SIZES, Work
from fieldward.cli.environment import services
from fieldward.settings import Settings
from models.base import new_id
from models.transaction import Tenant
from resolvers.account import member_viewer
from resolvers.read import Reader
from resolvers.services import Services
from resolvers.trail import Actor
from schema.api import Api, build_api
from schema.completion import Batch
from schema.context import RequestContext

TURNS: Final = 25
"""Pages of each kind in a round."""
MOST: Final = 1.10
"""What guards may cost at the most, as a ratio."""


def measure_guards(plan: Plan, databases: Databases) -> Report:
    """Measure the page in turns with guards and without."""
    ratios, guarded, free = asyncio.run(_measure(plan, databases))
    ratio = statistics.median(ratios)
    lines = [
        *heading(plan.generator, f"PostgreSQL {asyncio.run(databases.version())}"),
        f"A page of {PAGE_SIZES[Work.E]:,} records with 12 fields, executed in one process without HTTP; medians of"
        f" {TURNS} turns, {plan.rounds} rounds.",
        "",
        *table(
            ["guards", "processor ms", "ratio", "spread of the ratio"],
            [
                [
                    "all of them",
                    f"{statistics.median(guarded):.2f}",
                    f"{ratio:.3f}",
                    f"{max(ratios) - min(ratios):.3f}",
                ],
                ["each says yes", f"{statistics.median(free):.2f}", "1.000", ""],
            ],
        ),
        "",
        f"The limit is {MOST:.2f}: {'kept' if ratio <= MOST else 'MISSED'}.",
    ]
    return Report("guards", lines, {"guards": {"ratio": ratio, "ratios": ratios, "most": MOST}})


async def _measure(plan: Plan, databases: Databases) -> tuple[list[float], list[float], list[float]]:
    dataset = Dataset(plan.records)
    settings = Settings(data_directory=plan.directory / "fieldward", pool_size=POOL_SIZE)
    say(f"guards: {plan.records:,} records")
    person = await seed_fieldward(databases, "guards", dataset, settings, with_measurements=False)
    async with services(settings, databases_of(databases, "guards", owner=False)) as built:
        viewer = await member_viewer(ORGANIZATION, email=person.email)
        api, page = build_api(), _variables(dataset)
        for _ in range(5):
            await _ask(api, built, viewer, page)
        ratios, guarded, free = [], [], []
        for _ in range(plan.rounds):
            with_guards, without = [], []
            for _ in range(TURNS):
                with_guards.append(await _ask(api, built, viewer, page))
                with _all_allowed():
                    without.append(await _ask(api, built, viewer, page))
            ratios.append(statistics.median(with_guards) / statistics.median(without))
            guarded += with_guards
            free += without
            say(f"guards: {ratios[-1]:.3f}")
    return ratios, guarded, free


def _variables(dataset: Dataset) -> dict[str, Any]:
    return {"project": f"Project:{dataset.project(0).id}", "first": PAGE_SIZES[Work.E], "after": None}


async def _ask(api: Api, built: Services, viewer: Viewer, variables: dict[str, Any]) -> float:
    """Return the processor milliseconds that the page took."""
    actor = Actor(viewer.organization_id, Origin(channel=Channel.API, request_id=new_id()), viewer)
    tenant = Tenant(organization_id=viewer.organization_id, user_id=viewer.user_id)
    context = RequestContext(built, actor, Reader(tenant))
    started = time.process_time()
    result = await api.execute(DOCUMENTS[Work.E], variables, context)
    took = (time.process_time() - started) * 1000
    if result.errors or not result.data or len(result.data["records"]["nodes"]) != PAGE_SIZES[Work.E]:
        raise RuntimeError("The page was not answered whole.")
    return took


@contextmanager
def _all_allowed() -> Iterator[None]:
    with (
        patch.object(Batch, "readable", lambda batch, _guard: range(batch.size)),
        patch.object(RequestContext, "allows", lambda _context, _permission, _scope: True),
    ):
        yield
