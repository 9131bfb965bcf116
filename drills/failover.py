"""The primary killed, stopped and cut off while many write: what was acknowledged is there once, on who follows it.

Three machines keep the data, by the reference deployment (`drills/patroni.py`), and this one serves. Each round,
writers go on over HTTP while the machine of the primary is struck. Another one takes its place; what nobody could say
is sent again under its key, by who sent it; the machine comes back. Then the database is held against all that was
acknowledged (`drills/acknowledged.py`), on the new primary.
"""

import asyncio
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from drills.acknowledged import Acknowledged
from drills.crash import hold, require_values, scene, verify_keys, verify_trail
from drills.error import DrillError, require
from drills.journal import Round, Told
from drills.patroni import Member, PatroniCluster
from drills.replicated import ReplicatedMachine
from drills.steadfast import SteadfastWriter

KILLS: Final = 20
STOPS: Final = 10
CUTS: Final = 10
"""How often the primary is struck in the full drill."""
GOAL_S: Final = 30.0
"""Seconds for which nobody is to be kept from writing by the loss of a machine. The full drill is held to it."""
SOONEST_S: Final = 0.5
LATEST_S: Final = 3.0
"""When the primary is struck, after a round began."""
LONGEST_S: Final = 180.0
"""Seconds after which an outage counts as one that does not end."""
AFTERWARDS_S: Final = 3.0
"""For so long they go on when the machine that was struck is back, and believes what it believed."""


class Blow(StrEnum):
    """What befalls the primary, or all of its machine: SIGKILL, SIGTERM, SIGSTOP, a link that is down."""

    KILLED = "PostgreSQL killed"
    CRASHED = "machine killed"
    STOPPED = "stopped in order"
    FROZEN = "frozen, and continued"
    CUT_OFF = "cut off, and back"


@dataclass
class FailedOver:
    """What a drill was like.

    pauses_s: by what befell it, the longest that one of the writers waited, of each round. attempted: operations that
    writers were about to ask. unanswered: of these, reads and what must be refused that got no answer. told: what
    became of all others, each once. settled: of which nobody could say it at first.
    """

    seed: int
    took_s: float = 0
    blows: Counter[str] = field(default_factory=Counter)
    promotions: int = 0
    pauses_s: dict[str, list[float]] = field(default_factory=dict)
    attempted: int = 0
    unanswered: int = 0
    told: Counter[str] = field(default_factory=Counter)
    settled: Counter[str] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)
    records: int = 0
    opened: int = 0
    sealed: int = 0

    @property
    def rounds(self) -> int:
        """How often the primary was struck."""
        return sum(self.blows.values())

    @property
    def longest_s(self) -> float:
        """The longest that a writer waited."""
        return max(max(one) for one in self.pauses_s.values())


def failover_under_load(
    directory: Path, *, kills: int, stops: int, cuts: int, seed: int, say: Callable[[str], object] = lambda _: None
) -> FailedOver:
    """Go through the drill and return what it was like.

    kills, stops, cuts: how often the primary is killed, stopped, and cut off.
    seed: of the order, of when each happens, and of what is written. How the threads take turns it does not say.

    Raises:
        DrillError: something acknowledged is lost or doubled, what is unknown is not resolved, the trail and the rows
            do not fit; a writer was kept from writing beyond the goal, in the full drill; or this machine can't be made
            into several.
    """
    chance, outcome, acknowledged = random.Random(seed), FailedOver(seed), Acknowledged()
    machine = ReplicatedMachine(directory, PatroniCluster(directory / "cluster"))
    say(f"seed {seed}")
    with scene(machine, SteadfastWriter, seed=seed) as (owner, writers):
        began = time.monotonic()
        for number, blow in enumerate(_blows(chance, kills, stops, cuts), 1):
            journal = Round()
            pause_s = _go_on_and_strike(machine, writers, journal, blow, chance, outcome)
            outcome.blows[blow.value] += 1
            outcome.pauses_s.setdefault(blow.value, []).append(pause_s)
            outcome.told.update(one.told.value for one in journal.acts)
            outcome.settled["done"] += sum(one.settled for one in journal.acts)
            outcome.records = sum(len(writer.records) for writer in writers)
            held = asyncio.run(hold(machine, acknowledged, journal, outcome.records))
            outcome.held.update(held)
            say(f"round {number}: {blow}: {held['writes']} writes, longest pause {pause_s:.1f} s")
        outcome.settled["not done"] = sum(writer.resolutions for writer in writers) - outcome.settled["done"]
        _require_accounted(outcome, writers)
        owner.freshen()
        require_values(owner, writers)
        outcome.opened = verify_keys(machine)
        outcome.sealed = verify_trail(machine)
        outcome.took_s = time.monotonic() - began
    _require_in_time(outcome, is_full=kills >= KILLS and stops >= STOPS and cuts >= CUTS)
    return outcome


def _require_accounted(outcome: FailedOver, writers: Sequence[SteadfastWriter]) -> None:
    """Hold what writers attempted against what they were told, and against what was held against the database."""
    for writer in writers:
        writer.require_accounted()
    unknown = sum(writer.told[Told.UNKNOWN] for writer in writers)
    resolved = outcome.settled["done"] + outcome.settled["not done"]
    require(
        unknown == resolved, f"of {unknown} operations nobody could say what became of them, of {resolved} it is known"
    )
    outcome.attempted = sum(writer.attempted for writer in writers)
    outcome.unanswered = sum(writer.told[None] for writer in writers)
    held = outcome.told.total() + outcome.unanswered
    require(held == outcome.attempted, f"{outcome.attempted} operations were attempted, and {held} are accounted for")


def _require_in_time(outcome: FailedOver, *, is_full: bool) -> None:
    """Hold the full drill to the goal. A few rounds say little, on a machine that does other work besides."""
    require(
        not is_full or outcome.longest_s <= GOAL_S,
        f"a writer could not write for {outcome.longest_s:.1f} s, beyond the goal of {GOAL_S:.0f} s",
    )


def _blows(chance: random.Random, kills: int, stops: int, cuts: int) -> Sequence[Blow]:
    """Return what befalls the primaries, one after the other: kinds of one sort in turn, all in no order."""
    found = [(Blow.CRASHED, Blow.KILLED)[number % 2] for number in range(kills)]
    found += [(Blow.FROZEN, Blow.STOPPED)[number % 2] for number in range(stops)]
    found += [Blow.CUT_OFF] * cuts
    chance.shuffle(found)
    return found


def _go_on_and_strike(
    machine: ReplicatedMachine,
    writers: Sequence[SteadfastWriter],
    journal: Round,
    blow: Blow,
    chance: random.Random,
    outcome: FailedOver,
) -> float:
    """Have them write, strike the primary, bring its machine back, and return the longest that a writer waited."""
    cluster = machine.cluster
    before = cluster.wait_until_whole()
    assert before.primary is not None
    struck = cluster.member(before.primary)
    stop = threading.Event()
    threads = [threading.Thread(target=writer.work, args=(journal, stop)) for writer in writers]
    for thread in threads:
        thread.start()
    try:
        time.sleep(chance.uniform(SOONEST_S, LATEST_S))
        began = time.monotonic()
        _strike(cluster, struck, blow)
        try:
            _wait(f"nobody takes the place of {struck.name}", lambda: cluster.state().timeline > before.timeline)
            promoted = time.monotonic()
            outcome.promotions += 1
            _wait(
                "not all go on",
                lambda: bool(journal.odd) or all(writer.answered_since(promoted) for writer in writers),
            )
        finally:
            _mend(cluster, struck, blow)
        time.sleep(AFTERWARDS_S)
        ended = time.monotonic()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    require(not journal.odd, f"{len(journal.odd)} answers that nobody should get, the first: {journal.odd[:3]}")
    require(not journal.of(Told.UNKNOWN), "operations are left of which nobody knows what became of them")
    cluster.wait_until_whole()
    return max(writer.longest_pause_s(began, ended) for writer in writers)


def _strike(cluster: PatroniCluster, struck: Member, blow: Blow) -> None:
    match blow:
        case Blow.KILLED:
            struck.kill_postgres()
        case Blow.CRASHED:
            struck.place.kill()
        case Blow.STOPPED:
            cluster.stop_patroni(struck)
        case Blow.FROZEN:
            struck.place.signal(signal.SIGSTOP)
        case Blow.CUT_OFF:
            struck.place.cut()


def _mend(cluster: PatroniCluster, struck: Member, blow: Blow) -> None:
    match blow:
        case Blow.CRASHED:
            cluster.start_etcd(struck)
            cluster.start_patroni(struck)
        case Blow.STOPPED:
            cluster.start_patroni(struck)
        case Blow.FROZEN:
            struck.place.signal(signal.SIGCONT)
        case Blow.CUT_OFF:
            struck.place.mend()
        case Blow.KILLED:
            # Patroni is still there, and starts it as a standby.
            pass


def _wait(what: str, is_so: Callable[[], Any]) -> None:
    deadline = time.monotonic() + LONGEST_S
    while not is_so():
        if time.monotonic() > deadline:
            raise DrillError(f"After {LONGEST_S:.0f} s, {what}.")
        time.sleep(0.1)
