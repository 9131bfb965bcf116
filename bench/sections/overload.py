"""Whether one client's bombs are felt by another, who asks for something cheap.

A real server process is asked the same cheap query again and again, by turns with nothing else to do and beside another
client that sends one kind of bomb (`bench/bomb.py`), without a sign-in or with one, each as soon as the one before was
refused. The client of bombs is a process of its own, so that only the server is between the two. What is told is the
slowest one in a hundred of the cheap query's answers.

A machine that others use too stands still now and then, for longer than a bomb is felt, and one idle figure taken
before all the others says whether it did so just then. So idle answers are counted before every kind of bomb, all
kinds come round several times, and of either the middle one is told.
"""

import asyncio
import http.client
import json
import multiprocessing
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from statistics import median, median_low
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from bench.bomb import CHEAP, bombs
from bench.dataset import Dataset
from bench.report import Report, heading, table
from bench.run import Plan, say
from bench.server import Databases
from bench.targets.base import RefusedError, Setting
from bench.targets.fieldward import FieldwardTarget

MOST_TIMES: Final = 5.0
"""How many times slower the slowest one in a hundred may be beside a bomb."""
WARM: Final = 100
_JSON: Final = {"content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class Beside:
    """What was seen beside one kind of bomb: milliseconds of the cheap query, of which one in a hundred is slower; how
    many bombs were refused, with what code, and how quickly."""

    name: str
    p99_ms: float
    refused: int
    refusal_ms: float
    code: str


def measure_overload(plan: Plan, databases: Databases, tries: int) -> Report:
    """Ask a cheap query `tries` times alone and beside each bomb, in each of the plan's rounds, and say how much slower
    it was.

    Raises:
        RefusedError: a bomb was answered, or the cheap query was not.
    """
    target = FieldwardTarget(Setting(Dataset(plan.records), databases, plan.directory))
    target.prepare()
    idle: list[float] = []
    found: dict[str, list[Beside]] = {}
    with ExitStack() as stack:
        target.launch(stack)
        _ask(target, WARM)
        for number in range(1, plan.rounds + 1):
            for name, bomb in bombs().items():
                idle.append(_p99(_ask(target, tries)))
                for sign_in in ({}, target.headers()):
                    who = f"{name}, signed in" if sign_in else name
                    beside = _beside(target, who, bomb.body, sign_in, tries)
                    say(f"round {number}: {who}: {beside.p99_ms:.2f} ms, idle {idle[-1]:.2f} ms")
                    found.setdefault(who, []).append(beside)
    idle_ms = median(idle)
    middle = {name: median_low(one.p99_ms for one in beside) / idle_ms for name, beside in found.items()}
    worst = max(middle.values())
    lines = [
        *heading(plan.generator, f"PostgreSQL {asyncio.run(databases.version())}"),
        f"`{CHEAP['query']}`, signed in, {tries} times in a row over one connection: with nothing else to do, one in a"
        f" hundred takes longer than {idle_ms:.2f} ms (the middle one of {len(idle)} times, from {min(idle):.2f} to"
        f" {max(idle):.2f}). Beside it, another client sends bombs, one after the other: each kind without a sign-in,"
        f" and with one, {plan.rounds} times, of which all are told, and the middle one is divided by the idle one. At"
        f" most {MOST_TIMES:.0f} times is wanted; the most seen is {worst:.1f}.",
        "",
        *table(
            ["bomb", "p99 ms", "times", "refused", "each in ms", "as"],
            [
                [
                    name,
                    ", ".join(f"{one.p99_ms:.1f}" for one in beside),
                    f"{middle[name]:.1f}",
                    f"{sum(one.refused for one in beside)}",
                    f"{median_low(one.refusal_ms for one in beside):.1f}",
                    beside[0].code,
                ]
                for name, beside in found.items()
            ],
        ),
    ]
    data = {
        "idle_p99_ms": idle,
        "worst": worst,
        "beside": {name: [asdict(one) for one in beside] for name, beside in found.items()},
    }
    return Report("overload", lines, {"overload": data})


def _beside(target: FieldwardTarget, name: str, body: bytes, sign_in: Mapping[str, str], tries: int) -> Beside:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    sender = spawn.Process(target=_throw, args=(target.url, body, {**_JSON, **sign_in}, theirs), daemon=True)
    sender.start()
    try:
        if ours.recv() != "begun":
            raise RefusedError(f"{name}: no bomb was sent")
        times = _ask(target, tries)
        ours.send("end")
        refused, took_ms, code = ours.recv()
    finally:
        sender.join(10)
        if sender.is_alive():
            sender.kill()
    if code is None:
        raise RefusedError(f"{name}: a bomb was answered")
    return Beside(name, _p99(times), refused, took_ms, code)


def _throw(url: str, body: bytes, headers: dict[str, str], told: Connection) -> None:
    """Send bombs until it is told to end; then tell how many were refused, how quickly, and as what."""
    parts = urlsplit(url)
    refused, took, code = 0, 0.0, ""
    with closing(http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)) as connection:
        while not told.poll():
            begun = time.perf_counter()
            connection.request("POST", parts.path, body, headers)
            answer = json.loads(connection.getresponse().read())
            took += time.perf_counter() - begun
            if refused == 0:
                told.send("begun")
            refused += 1
            if answer.get("data") is not None or not answer.get("errors"):
                told.send((refused, 0.0, None))
                return
            code = answer["errors"][0]["extensions"]["code"]
    told.send((refused, took / refused * 1000, code))


def _ask(target: FieldwardTarget, tries: int) -> list[float]:
    """Return the milliseconds of the cheap query's answers."""
    parts = urlsplit(target.url)
    headers, body = {**_JSON, **target.headers()}, orjson.dumps(CHEAP)
    times = []
    with closing(http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)) as connection:
        for _ in range(tries):
            begun = time.perf_counter()
            connection.request("POST", parts.path, body, headers)
            answer: Any = json.loads(connection.getresponse().read())
            times.append((time.perf_counter() - begun) * 1000)
            if not answer.get("data", {}).get("viewer"):
                raise RefusedError("the cheap query was not answered")
    return times


def _p99(times: list[float]) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
