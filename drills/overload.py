"""Ten times as much as the service can do, for a minute: what it can't do is refused at once, and nothing breaks.

First it is measured what one server process can do, asked as fast as it answers. Then requests come at ten times that
rate, whether or not they are answered (`drills/flood.py`). Each is served, or told to come again by 429 or 503 with
`Retry-After`; memory stays what it is; and a moment after the flood the service is as quick as before.
"""

import asyncio
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import orjson

from auth.role import OrganizationRole
from bench.process import ROOT, usage_of
from drills.caller import Caller
from drills.error import DrillError, require
from drills.flood import Flood, Flooded
from drills.machine import Machine, Person

TIMES: Final = 10
PEOPLE: Final = 8
RECORDS: Final = 200
BUSY_CONNECTIONS: Final = 16
"""Connections over which it is measured what can be done: enough to keep a process busy."""
FLOOD_CONNECTIONS: Final = 600
LONGEST_REFUSAL_MS: Final = 1000.0
"""Milliseconds in which 99 of 100 refusals are there: the machine's cores are those of the flood as well."""
LEAST_SENT: Final = 0.95
"""The part of what is due that finds a connection to be sent over: of less, the flood is not what is asked for."""
MOST_GROWTH: Final = 0.15
"""How much more memory the process may hold at any time of the flood than when a tenth of it was over. It held about
one hundredth more where that was recorded (README.md): the rest is for another machine's allocator, and for a minute
that is worse.
"""
RECOVERED_WITHIN_S: Final = 5.0
QUICK_TIMES: Final = 3.0
"""Recovered is who answers a cheap query, ten times in a row, in so many times what it took before."""
_PROBES: Final = 10
_PATIENCE_S: Final = 90

_PROJECT: Final = (
    "mutation($input: CreateProjectInput!) { createProject(input: $input) { project { id } errors { code } } }"
)
_CREATE: Final = (
    "mutation($input: CreateRecordInput!) { createRecord(input: $input) { record { id } errors { code } } }"
)
_PAGE: Final = "query Page { records(first: 25) { nodes { id siteCode collectedAt status comment collector } } }"
_ONE: Final = "query One($id: ID!) { record(id: $id) { id siteCode collectedAt medium status version } }"
CHEAP: Final = "{ viewer { user { id } } }"


@dataclass
class Overloaded:
    """What a flood was like. Milliseconds: the median, and what 99 of 100 and all stay below."""

    sustained: float
    sustained_ms: tuple[float, float, float]
    offered: float
    seconds: float
    connections: int
    due: int
    sent: int
    served: int
    refused: int
    statuses: dict[str, int]
    served_ms: tuple[float, float, float]
    refused_ms: tuple[float, float, float]
    others: int
    examples: Sequence[str]
    probes: int
    unprobed: int
    memory_mb: tuple[float, float, float]
    recovered_s: float
    cheap_ms: float


def overload(
    directory: Path,
    *,
    seconds: float,
    warm_s: float = 10.0,
    times: float = TIMES,
    connections: int = FLOOD_CONNECTIONS,
    least_sent: float = LEAST_SENT,
    say: Any = lambda _: None,
) -> Overloaded:
    """Go through the drill and return what it was like.

    seconds: for which the flood lasts. warm_s: for which it is measured what can be done. times: of that.
    least_sent: the part of what is due that has to be sent; less is enough where other work keeps the machine busy.

    Raises:
        DrillError: something was answered otherwise, too slowly, took memory, or did not recover.
    """
    people = [Person(f"p{place}@basin.example", OrganizationRole.ADMIN) for place in range(PEOPLE - 1)]
    people.insert(0, Person("olive@basin.example", OrganizationRole.OWNER))
    # What each person may ask for at once stays as it is by default. Their quota in a minute would refuse most of this
    # before there is an overload at all, so it is taken away.
    machine = Machine(directory, FIELDWARD_CONCURRENCY="20")
    with ExitStack() as stack:
        stack.enter_context(machine.standing())
        asyncio.run(machine.found(people))
        machine.start()
        callers = [stack.enter_context(closing(Caller(machine, person))) for person in people]
        for caller in callers:
            caller.freshen()
        bodies = _bodies(callers[0])
        tokens = [caller.token() for caller in callers]
        _flooded(Flood(machine.url, tokens, bodies, BUSY_CONNECTIONS, min(3.0, warm_s)))
        calm = _flooded(Flood(machine.url, tokens, bodies, BUSY_CONNECTIONS, warm_s))
        require(calm.others == 0 and calm.served > 0, f"without a flood: {calm.others} failed: {calm.examples}")
        sustained = calm.served / calm.seconds
        say(f"sustained: {sustained:.0f} requests/s")
        cheap_ms = statistics.median(_probe(machine.url, tokens[0]) for _ in range(50))
        flood = Flood(machine.url, tokens, bodies, connections, seconds, rate=sustained * times)
        with _watching(machine) as seen:
            found = _flooded(flood)
        recovered_s = _recovered(machine.url, tokens[0], cheap_ms)
        memory = _memory(seen.memory_mb)
        done = Overloaded(
            sustained=sustained,
            sustained_ms=_spread(calm.served_ms),
            offered=sustained * times,
            seconds=found.seconds,
            connections=connections,
            due=found.due,
            sent=found.sent,
            served=found.served,
            refused=found.refused,
            statuses=found.statuses,
            served_ms=_spread(found.served_ms),
            refused_ms=_spread(found.refused_ms),
            others=found.others,
            examples=found.examples,
            probes=seen.probes,
            unprobed=seen.unanswered,
            memory_mb=memory,
            recovered_s=recovered_s,
            cheap_ms=cheap_ms,
        )
        say(f"served {done.served}, refused {done.refused}, others {done.others}, recovered in {recovered_s:.1f} s")
        _judge(done, least_sent)
    return done


def _judge(done: Overloaded, least_sent: float = LEAST_SENT) -> None:
    require(done.others == 0, f"{done.others} answers were neither served nor told to come again: {done.examples}")
    require(
        done.sent >= done.due * least_sent,
        f"of {done.due} requests only {done.sent} found a connection to be sent over",
    )
    require(done.refused > done.sent / 4, f"of {done.sent} requests only {done.refused} were refused: no overload")
    require(done.served > 0, "nobody was served")
    early, most, _ = done.memory_mb
    require(most <= early * (1 + MOST_GROWTH), f"memory grew from {early:.0f} to {most:.0f} MiB")
    require(
        done.refused_ms[1] <= LONGEST_REFUSAL_MS,
        f"one refusal in a hundred takes more than {LONGEST_REFUSAL_MS:.0f} ms",
    )
    require(done.unprobed == 0, f"{done.unprobed} of {done.probes} looks at /health/live were not answered")
    require(done.recovered_s <= RECOVERED_WITHIN_S, f"it took {done.recovered_s:.1f} s to recover")


@dataclass
class _Seen:
    memory_mb: list[float] = field(default_factory=list)
    probes: int = 0
    unanswered: int = 0


@contextmanager
def _watching(machine: Machine) -> Iterator[_Seen]:
    """Look at the process's memory, and whether it says that it lives, while the block runs."""
    seen, stop = _Seen(), threading.Event()
    address = machine.url.removesuffix("/graphql") + "/health/live"

    def look() -> None:
        while not stop.wait(0.5):
            seen.memory_mb.append(usage_of([machine.pid]).rss_mb)
            seen.probes += 1
            try:
                if httpx.get(address, timeout=5).status_code != 200:
                    seen.unanswered += 1
            except httpx.HTTPError:
                seen.unanswered += 1

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield seen
    finally:
        stop.set()
        looking.join()


def _bodies(owner: Caller) -> list[str]:
    made = owner.data(_PROJECT, {"input": {"code": "FLOOD", "name": "What is asked for"}})["createProject"]
    project, ids = made["project"]["id"], []
    new = {"projectId": project, "collectedAt": "2026-01-05T10:00:00Z", "medium": "WATER"}
    for number in range(RECORDS):
        given = {**new, "siteCode": f"S-{number}", "comment": f"What was seen at {number}", "collector": "Ada"}
        ids.append(owner.data(_CREATE, {"input": given})["createRecord"]["record"]["id"])
    page = {"query": _PAGE, "operationName": "Page"}
    one = {"query": _ONE, "operationName": "One"}
    create = {"query": _CREATE, "variables": {"input": {**new, "siteCode": "FLOODED", "comment": "During a flood"}}}
    asked: list[dict[str, Any]] = []
    for number in range(0, 50, 5):
        asked += [{**one, "variables": {"id": ids[number + place]}} for place in range(5)]
        asked += [page, page, create]
    return [orjson.dumps(each).decode() for each in asked]


def _flooded(flood: Flood) -> Flooded:
    done = subprocess.run(
        [sys.executable, "-m", "drills.flood"],
        input=orjson.dumps(asdict(flood)),
        capture_output=True,
        cwd=ROOT,
        timeout=flood.seconds + _PATIENCE_S,
        check=False,
    )
    if done.returncode != 0:
        raise DrillError(f"the flood ended with {done.returncode}: {done.stderr.decode(errors='replace')[-800:]}")
    return Flooded(**orjson.loads(done.stdout))


def _probe(url: str, token: str) -> float:
    """Return the milliseconds of a cheap query over a connection of its own; infinite where it is not answered."""
    began = time.perf_counter()
    try:
        answer = httpx.post(url, json={"query": CHEAP}, headers={"authorization": f"Bearer {token}"}, timeout=5)
    except httpx.HTTPError:
        return float("inf")
    is_good = answer.status_code == 200 and "errors" not in answer.json()
    return (time.perf_counter() - began) * 1000 if is_good else float("inf")


def _recovered(url: str, token: str, cheap_ms: float) -> float:
    """Return after how many seconds the service was as quick again as it was before, some times in a row."""
    began = time.perf_counter()
    in_a_row, since = 0, began
    while time.perf_counter() - began < _PATIENCE_S:
        at = time.perf_counter()
        if _probe(url, token) <= cheap_ms * QUICK_TIMES + 10:
            since = at if in_a_row == 0 else since
            in_a_row += 1
            if in_a_row == _PROBES:
                return since - began
        else:
            in_a_row = 0
        time.sleep(0.05)
    return float("inf")


def _spread(ordered: Sequence[float]) -> tuple[float, float, float]:
    if not ordered:
        return 0.0, 0.0, 0.0
    return statistics.median(ordered), ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)], ordered[-1]


def _memory(seen: Sequence[float]) -> tuple[float, float, float]:
    """Return the MiB held when a tenth was over, the most, and those at the end."""
    if not seen:
        return 0.0, 0.0, 0.0
    return seen[len(seen) // 10], max(seen), seen[-1]
