"""What the audit trail costs: a mutation with its entry and the triggers, against the same mutation without either.

Two server processes over two databases of one PostgreSQL, filled alike. One is Fieldward as it is; of the other the
triggers are dropped, and its server (`bench/apps/unaudited.py`) makes no entry. One at a time, mutations go to the one
and the other in turns, by the clock of who asks; many at once, windows of load take turns. Processor time is that of
the server's process and of PostgreSQL's processes that work for it.
"""

import asyncio
import http.client
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import cycle
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from bench.dataset import Dataset
from bench.load import Load, run_load, warm_up
from bench.process import children_of, usage_of
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
TURNS: Final = 300
"""Mutations of each kind, one at a time, in a round."""
WARM: Final = 30
"""Mutations before a round's first that is timed."""
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


@dataclass
class Kind:
    """What was found of one mutation by one target, round by round.

    turn_ms: the median time of one at a time. cpu_ms: of the processor, each. rates: a second, many at once.
    """

    turn_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)


Found = Mapping[Mutation, Sequence[Kind]]
"""Of each mutation what was found with the trail, and without."""


def measure_audit(plan: Plan, databases: Databases) -> Report:
    """Measure the mutations in turns, with the trail and without.

    Raises:
        LoadError, RefusedError: a request failed; a target wrote a trail that it must not, or none where it must.
    """
    found = _measure(plan, databases)
    rows, data = [], {}
    for mutation, (whole, bare) in found.items():
        measured = {
            "one at a time, ms": (whole.turn_ms, bare.turn_ms),
            "of the processor, ms": (whole.cpu_ms, bare.cpu_ms),
            f"{plan.connections} at once, ms each": ([1000 / x for x in whole.rates], [1000 / x for x in bare.rates]),
        }
        for what, (with_it, without) in measured.items():
            ratios = [one / other for one, other in zip(with_it, without, strict=True)]
            rows.append(
                [
                    f"{mutation}: {what}",
                    f"{statistics.median(with_it):.2f}",
                    f"{statistics.median(without):.2f}",
                    f"{statistics.median(ratios):.3f}",
                    f"{max(ratios) - min(ratios):.3f}",
                ]
            )
            data[f"{mutation.name.lower()}, {what}"] = {"ratios": ratios}
    ratios = [_ratio(found[mutation]) for mutation in Mutation]
    verdicts = [f"{ratio:.3f}: {'kept' if ratio <= MOST else 'MISSED'}" for ratio in ratios]
    lines = [
        *heading(plan.generator, f"PostgreSQL {asyncio.run(databases.version())}"),
        f"{plan.records:,} records before it; medians of {plan.rounds} rounds, with and without the trail in turns:"
        f" {TURNS} mutations each one at a time, and {plan.seconds:g} s of {plan.connections} at once. The spread is"
        " that of the rounds' ratios. No request failed.",
        "",
        *table(["mutation", "with", "without", "ratio", "spread"], rows),
        "",
        f"The limit is {MOST:.2f}, one at a time: create {verdicts[0]}, change {verdicts[1]}.",
    ]
    return Report("audit", lines, {"audit": {**data, "most": MOST}})


def _measure(plan: Plan, databases: Databases) -> Found:
    setting = Setting(Dataset(plan.records), databases, plan.directory)
    targets = [FieldwardTarget(setting), _Unaudited(setting)]
    found = {mutation: [Kind() for _ in targets] for mutation in Mutation}
    with ExitStack() as stack:
        for target in targets:
            say(f"{target.name}: {plan.records:,} records")
            target.prepare()
            target.start(stack)
        for number in range(plan.rounds):
            for mutation in Mutation:
                _take_turns(targets, mutation, found[mutation])
                for place in (1, 0) if number % 2 else (0, 1):
                    rate = _window(plan, targets[place], mutation, is_first=number == 0)
                    found[mutation][place].rates.append(rate)
                say(f"round {number + 1} {mutation}: {_ratio(found[mutation]):.3f} so far")
        asyncio.run(_require_trails(databases, *targets))
    return found


def _take_turns(targets: Sequence[FieldwardTarget], mutation: Mutation, found: Sequence[Kind]) -> None:
    """Ask both, one mutation at a time, to and fro, so that each follows the other as often as it goes before it."""
    with ExitStack() as stack:
        clients = [stack.enter_context(closing(_Client(target, _BODIES[mutation](target)))) for target in targets]
        asyncio.run(targets[0].setting.databases.checkpoint())
        for _ in range(WARM):
            for client in clients:
                client.ask()
        before = [_processor_s(target) for target in targets]
        times: list[list[float]] = [[] for _ in targets]
        for turn in range(TURNS):
            for place in (1, 0) if turn % 2 else (0, 1):
                times[place].append(clients[place].ask())
        for kind, target, taken, used in zip(found, targets, times, before, strict=True):
            kind.turn_ms.append(statistics.median(taken) * 1000)
            kind.cpu_ms.append((_processor_s(target) - used) / TURNS * 1000)


class _Client:
    """A connection that sends one request at a time, with as little of its own as may be."""

    def __init__(self, target: FieldwardTarget, bodies: Sequence[bytes]) -> None:
        parts = urlsplit(target.url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
        self._path = parts.path
        self._headers = {"content-type": "application/json", **target.headers()}
        self._bodies: Iterator[bytes] = cycle(bodies)

    def ask(self) -> float:
        """Send the next request, and return the seconds until its answer is there.

        Raises:
            RefusedError: there are errors in it.
        """
        body = next(self._bodies)
        began = time.perf_counter()
        self._connection.request("POST", self._path, body, self._headers)
        response = self._connection.getresponse()
        answer = response.read()
        took = time.perf_counter() - began
        if response.status != 200 or b'"errors":[]' not in answer or b'"errors":[{' in answer:
            raise RefusedError(f"answered {response.status}: {answer[:500].decode(errors='replace')}")
        return took

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _processor_s(target: FieldwardTarget) -> float:
    """Return the seconds of processor time that a server, and PostgreSQL's processes for its database, have used."""
    postmaster = target.setting.databases.postgres.postmaster_pid
    named = f" {target.database} ".encode()
    return usage_of([*target.pids, *(pid for pid in children_of(postmaster or 0) if named in _command_of(pid))]).cpu_s


def _command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _window(plan: Plan, target: FieldwardTarget, mutation: Mutation, *, is_first: bool) -> float:
    """Return the requests a second of a window of load."""

    def load(seconds: float) -> Load:
        return Load(target.url, target.headers(), _BODIES[mutation](target), plan.connections, seconds)

    if is_first:
        warm_up(load(plan.warm_up_s), plan.generator)
    made = load(plan.seconds)
    asyncio.run(target.setting.databases.checkpoint())
    return run_load(made, plan.generator).rate


def _ratio(kinds: Sequence[Kind]) -> float:
    whole, bare = kinds
    return statistics.median(one / other for one, other in zip(whole.turn_ms, bare.turn_ms, strict=True))


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
