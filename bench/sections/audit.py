"""What the audit trail costs: a mutation with its entry and the triggers, against the same mutation without either.

Two server processes over two databases of one PostgreSQL, filled alike. One is Fieldward as it is; of the other the
triggers are dropped, and its server (`bench/apps/unaudited.py`) makes no entry. They take turns, so that both meet the
same machine; what is compared is the time that a mutation takes, by one connection and by many.
"""

import asyncio
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from enum import StrEnum
from typing import Any, Final

import orjson

from bench.dataset import Dataset
from bench.load import Counted, Load, run_load, warm_up
from bench.report import Report, heading, table
from bench.run import Plan, say
from bench.server import Databases
from bench.targets.base import RefusedError, Setting
from bench.targets.fieldward import FieldwardTarget
from bench.work import Work, creation_tasks
from models.inventory import entities

MOST: Final = 1.35
"""What the trail may cost at the most, as a ratio of times."""
MEASUREMENTS: Final = 3
"""Of a record that is created."""
UPDATES: Final = 20_000
"""Records that are changed in a window at the most, each once: a change names the version that it is of."""

_UPDATE: Final = (
    "mutation U($input: UpdateRecordInput!) { updateRecord(input: $input) {"
    " record { id siteCode status } errors { code message } } }"
)


class Mutation(StrEnum):
    """What is measured."""

    CREATE = f"create a record with {MEASUREMENTS} measurements"
    UPDATE = "change two columns of a record, one of them encrypted"


class _Unaudited(FieldwardTarget):
    """The same, without the trail."""

    name = "unaudited"
    command = ("bench.apps.unaudited",)

    @property
    def database(self) -> str:
        """A database of its own."""
        return f"unaudited_{self.dataset.records}"

    def prepare(self) -> None:
        """Fill the database, and take the triggers away that write changes."""
        super().prepare()
        asyncio.run(self._drop())

    async def _drop(self) -> None:
        async with self.setting.databases.superuser(self.database) as superuser:
            for entity in entities():
                if entity.model.is_audited:
                    for trigger in ("change_insert", "change_update", "change_delete"):
                        await superuser.execute(f'drop trigger {trigger} on "{entity.name}"')


Times = Mapping[tuple[Mutation, int, str], Sequence[Counted]]
"""What was counted, window by window, by mutation, connections and target."""


def measure_audit(plan: Plan, databases: Databases) -> Report:
    """Measure the mutations in turns, with the trail and without.

    Raises:
        LoadError: a request failed.
        RefusedError: a target wrote a trail that it must not, or none where it must.
    """
    found = _measure(plan, databases)
    rows, data = [], {}
    for mutation in Mutation:
        for connections in (1, plan.connections):
            whole, bare = (found[mutation, connections, one.name] for one in (FieldwardTarget, _Unaudited))
            ratios = [without.rate / with_.rate for with_, without in zip(whole, bare, strict=True)]
            rows.append(
                [
                    f"{mutation}, {connections} at once",
                    f"{_median(whole, _p50):.2f}",
                    f"{_median(bare, _p50):.2f}",
                    f"{_median(whole, _rate):,.0f}",
                    f"{_median(bare, _rate):,.0f}",
                    f"{statistics.median(ratios):.3f}",
                    f"{max(ratios) - min(ratios):.3f}",
                    _verdict(ratios),
                ]
            )
            data[f"{mutation.name.lower()} {connections}"] = {"ratios": ratios, "most": MOST}
    heads = ["mutation", "p50 ms", "without", "requests/s", "without", "ratio", "spread", f"at most {MOST:.2f}"]
    lines = [
        *heading(plan.generator, f"PostgreSQL {asyncio.run(databases.version())}"),
        f"{plan.records:,} records before it; medians of {plan.rounds} rounds of {plan.seconds:g} s, with and without"
        " the trail in turns. The ratio is of the time that a mutation takes: requests a second without the trail, by"
        " those with it, round by round; the spread is that of the rounds. No request failed.",
        "",
        *table(heads, rows),
    ]
    return Report("audit", lines, {"audit": data})


def _measure(plan: Plan, databases: Databases) -> Times:
    setting = Setting(Dataset(plan.records), databases, plan.directory)
    targets = [FieldwardTarget(setting), _Unaudited(setting)]
    found: dict[tuple[Mutation, int, str], list[Counted]] = {}
    with ExitStack() as stack:
        for target in targets:
            say(f"{target.name}: {plan.records:,} records")
            target.prepare()
            target.start(stack)
        for number in range(plan.rounds):
            for mutation in Mutation:
                for connections in (1, plan.connections):
                    for target in targets[:: -1 if number % 2 else 1]:
                        counted = _window(plan, target, mutation, connections, is_first=number == 0)
                        found.setdefault((mutation, connections, target.name), []).append(counted)
                    whole, bare = (found[mutation, connections, target.name][-1] for target in targets)
                    say(f"round {number + 1} {mutation}, {connections} at once: {bare.rate / whole.rate:.3f}")
        asyncio.run(_require_trails(databases, *targets))
    return found


def _window(plan: Plan, target: FieldwardTarget, mutation: Mutation, connections: int, *, is_first: bool) -> Counted:
    def load(seconds: float) -> Load:
        return Load(target.url, target.headers(), _BODIES[mutation](target), connections, seconds)

    if is_first:
        warm_up(load(plan.warm_up_s), plan.generator)
    made = load(plan.seconds)
    asyncio.run(target.setting.databases.checkpoint())
    return run_load(made, plan.generator)


def _creations(target: FieldwardTarget) -> list[bytes]:
    results = [
        {"characteristic": f"Nitrate {number}", "value": number + 0.5, "unit": "mg/l"} for number in range(MEASUREMENTS)
    ]
    return [
        orjson.dumps(_with_input(target.body(Work.D, task), measurements=results))
        for task in creation_tasks(target.dataset)
    ]


def _updates(target: FieldwardTarget) -> list[bytes]:
    rows = asyncio.run(_versions(target))
    return [
        orjson.dumps(
            {
                "query": _UPDATE,
                "operationName": "U",
                "variables": {
                    "input": {
                        "id": f"Record:{row['id']}",
                        "expectedVersion": row["version"],
                        "siteCode": f"MOVED-{row['version']}",
                        "comment": f"Looked at again, and found to lie on the other bank: {row['version']}.",
                    }
                },
            }
        )
        for row in rows
    ]


_BODIES: Final[Mapping[Mutation, Callable[[FieldwardTarget], list[bytes]]]] = {
    Mutation.CREATE: _creations,
    Mutation.UPDATE: _updates,
}


async def _versions(target: FieldwardTarget) -> list[Any]:
    """Return the records of the data with their versions as they are by now, the least changed first."""
    projects = [project.id for project in target.dataset.all_projects()]
    async with target.setting.databases.superuser(target.database) as superuser:
        return list(
            await superuser.fetch(
                # Of the others a change takes a reason, too.
                "select r.id, r.version from record r join project p on p.organization_id = r.organization_id"
                " and p.id = r.project_id where p.id = any($1) and p.status = 'ACTIVE'"
                " and r.status in ('DRAFT', 'REJECTED') order by r.version, r.id limit $2",
                projects,
                UPDATES,
            )
        )


async def _require_trails(databases: Databases, whole: FieldwardTarget, bare: FieldwardTarget) -> None:
    counts = []
    for target in (whole, bare):
        async with databases.superuser(target.database) as superuser:
            written = await superuser.fetchval(
                "select count(*) from record where version > 1 or site_code like 'NEW-%'"
            )
            told = await superuser.fetchval("select count(distinct entity_id) from change where entity = 'record'")
            counts.append((target.name, written, told))
    (_, written, told), (_, _, untold) = counts
    if told != written or untold:
        raise RefusedError(f"Expected a trail of every record that was written, and none without it: {counts}")


def _with_input(body: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**body, "variables": {"input": {**body["variables"]["input"], **more}}}


def _median(windows: Sequence[Counted], value: Callable[[Counted], float]) -> float:
    return statistics.median(map(value, windows))


def _p50(one: Counted) -> float:
    return one.p50_ms


def _rate(one: Counted) -> float:
    return one.rate


def _verdict(ratios: Sequence[float]) -> str:
    return "kept" if statistics.median(ratios) <= MOST else "MISSED"
