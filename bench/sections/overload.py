"""Whether one client's bombs are felt by another, who asks for something cheap.

A real server process is asked the same cheap query again and again, first with nothing else to do, then beside another
client that sends one kind of bomb after the other (`bench/bomb.py`), without a sign-in and with one, each as soon as
the one before was refused. The client of bombs is a process of its own, so that only the server is between the two.
What is told is the slowest one in a hundred of the cheap query's answers.
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
    """What was seen beside one kind of bomb: milliseconds of the cheap query, of which one in a hundred is slower, and
    that divided by the same without a bomb; how many bombs were refused, with what code, and how quickly."""

    name: str
    p99_ms: float
    times: float
    refused: int
    refusal_ms: float
    code: str


def measure_overload(plan: Plan, databases: Databases, tries: int) -> Report:
    """Ask a cheap query `tries` times alone and beside each bomb, and say how much slower it was.

    Raises:
        RefusedError: a bomb was answered, or the cheap query was not.
    """
    target = FieldwardTarget(Setting(Dataset(plan.records), databases, plan.directory))
    target.prepare()
    found: list[Beside] = []
    with ExitStack() as stack:
        target.launch(stack)
        _ask(target, WARM)
        idle = _p99(_ask(target, tries))
        for name, bomb in bombs().items():
            for sign_in in ({}, target.headers()):
                who = f"{name}, signed in" if sign_in else name
                beside = _beside(target, who, bomb.body, sign_in, tries, idle)
                say(f"{who}: {beside.times:.1f} times, refused in {beside.refusal_ms:.1f} ms")
                found.append(beside)
        idle_after = _p99(_ask(target, tries))
    worst = max(one.times for one in found)
    lines = [
        *heading(plan.generator, f"PostgreSQL {asyncio.run(databases.version())}"),
        f"`{CHEAP['query']}`, signed in, {tries} times in a row over one connection: one in a hundred takes longer than"
        f" {idle:.2f} ms with nothing else to do, and {idle_after:.2f} ms after all of it. Beside it, another client"
        f" sends bombs, one after the other: each kind without a sign-in, and with one. At most {MOST_TIMES:.0f} times"
        f" is wanted; the most seen is {worst:.1f}.",
        "",
        *table(
            ["bomb", "p99 ms", "times", "refused", "each in ms", "as"],
            [
                [one.name, f"{one.p99_ms:.2f}", f"{one.times:.1f}", f"{one.refused}", f"{one.refusal_ms:.1f}", one.code]
                for one in found
            ],
        ),
    ]
    data = {"idle_p99_ms": idle, "worst": worst, "beside": [asdict(one) for one in found]}
    return Report("overload", lines, {"overload": data})


def _beside(
    target: FieldwardTarget, name: str, body: bytes, sign_in: Mapping[str, str], tries: int, idle: float
) -> Beside:
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
    p99 = _p99(times)
    return Beside(name, p99, p99 / idle, refused, took_ms, code)


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
