"""The service and PostgreSQL killed at random moments while many write: what was acknowledged is there, with its trail.

Each round, writers go on over HTTP until something is ended by SIGKILL in their midst. It is brought back, what nobody
could say is looked up, and then the database is held against all that was acknowledged (`drills/acknowledged.py`).
"""

import asyncio
import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from auth.role import OrganizationRole
from bench.process import ROOT
from drills.acknowledged import Acknowledged
from drills.caller import Caller
from drills.error import require
from drills.journal import Round, Told
from drills.machine import Kill, Machine, Person
from drills.writer import Writer

W = TypeVar("W", bound=Writer)

WRITERS: Final = 8
SOONEST_S: Final = 0.2
LATEST_S: Final = 3.0
"""When something is killed, after a round began."""
GOING_ON_S: Final = 0.3
"""For so long they go on asking when something was killed, and meet what is left."""
SEALED_WITHIN_S: Final = 30
"""For so long the last entries may wait to be sealed, on a machine that has just been made to work hard."""
_PAGE: Final = 100

_WHO: Final = "{ viewer { user { id } } }"
_PROJECT: Final = (
    "mutation($input: CreateProjectInput!) { createProject(input: $input) { project { id } errors { code } } }"
)
_ASSIGN: Final = "mutation($input: AssignProjectRoleInput!) { assignProjectRole(input: $input) { errors { code } } }"
_UNSEALED: Final = """
    select count(*) from audit_entry e
     where e.at < $1 and not exists
       (select from sealed_leaf l where l.organization_id = e.organization_id and l.id = e.id)
"""
_RECORDS: Final = """
query($first: Int!, $after: String) { records(first: $first, after: $after) {
  nodes { id version comment collector } pageInfo { hasNextPage endCursor } } }
"""


@dataclass
class Crashed:
    """What a drill was like. outages_s: from each kill until all could go on. sealed: entries that were verified."""

    seed: int
    took_s: float = 0
    kills: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    settled: Counter[str] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)
    outages_s: list[float] = field(default_factory=list)
    records: int = 0
    opened: int = 0
    sealed: int = 0

    @property
    def rounds(self) -> int:
        """How often something was killed."""
        return sum(self.kills.values())


def crash_under_load(directory: Path, rounds: int, *, seed: int, say: Any = lambda _: None) -> Crashed:
    """Go through the drill and return what it was like.

    seed: of when what is killed, and of what is written. How the threads take turns it does not say.

    Raises:
        DrillError: something acknowledged is lost or doubled, or the trail and the rows do not fit.
    """
    machine, chance = Machine(directory), random.Random(seed)
    outcome, acknowledged = Crashed(seed), Acknowledged()
    say(f"seed {seed}")
    with scene(machine, Writer, seed=seed) as (owner, writers):
        began = time.monotonic()
        for number, kill in zip(range(1, rounds + 1), _kills(chance), strict=False):
            journal = Round()
            outcome.outages_s.append(_go_on_and_kill(machine, writers, journal, kill, chance))
            unknown = len(journal.of(Told.UNKNOWN))
            _settle(writers, journal, outcome)
            outcome.kills[kill.value] += 1
            outcome.told.update(one.told.value for one in journal.acts)
            outcome.records = sum(len(writer.records) for writer in writers)
            held = asyncio.run(hold(machine, acknowledged, journal, outcome.records))
            outcome.held.update(held)
            say(
                f"round {number}: {kill}, {held['writes']} writes, {unknown} unknown,"
                f" {outcome.outages_s[-1]:.1f} s until all went on"
            )
        require_values(owner, writers)
        outcome.opened = verify_keys(machine)
        outcome.sealed = verify_trail(machine)
        outcome.took_s = time.monotonic() - began
    return outcome


@contextmanager
def scene(
    machine: Machine, make: Callable[[int, Caller, str, int], W], *, seed: int, writers: int = WRITERS
) -> Iterator[tuple[Caller, list[W]]]:
    """Start the service with an owner, and writers who manage one project together; yield them, and stop it all.

    make: makes a writer, of a place, a caller, a project's id and a seed.
    """
    people = [Person("olive@basin.example", OrganizationRole.OWNER)]
    people += [Person(f"writer{place}@basin.example", OrganizationRole.MEMBER) for place in range(writers)]
    with machine.standing(), ExitStack() as stack:
        asyncio.run(machine.found(people))
        machine.start()
        owner, *others = [stack.enter_context(closing(Caller(machine, person))) for person in people]
        project: dict[str, Any] = {"code": "CRASH", "name": "What crashes leave"}
        project_id = owner.data(_PROJECT, {"input": project})["createProject"]["project"]["id"]
        for one in others:
            user_id = one.data(_WHO)["viewer"]["user"]["id"]
            given = {"userId": user_id, "projectId": project_id, "role": "MANAGER", "reason": "Writes in the drill."}
            owner.data(_ASSIGN, {"input": given})
        yield owner, [make(place, one, project_id, seed) for place, one in enumerate(others)]


def verify_trail(machine: Machine) -> int:
    """Have the trail verified once all of it is sealed, and return how many entries there are.

    Raises:
        DrillError: the service does not seal them in time, or the trail does not verify.
    """
    asyncio.run(_wait_until_sealed(machine))
    done = _run(machine, "audit", "verify", "--json")
    require(done.returncode == 0, f"audit verify ended with {done.returncode}: {(done.stdout + done.stderr)[-500:]}")
    found = json.loads(done.stdout)
    require(found["verified"] and not found["findings"], f"the trail does not verify: {found['findings'][:3]}")
    return int(found["entries"])


async def _wait_until_sealed(machine: Machine) -> None:
    async with machine.superuser() as superuser:
        now, began = await superuser.fetchval("select clock_timestamp()"), time.monotonic()
        while left := int(await superuser.fetchval(_UNSEALED, now)):
            require(time.monotonic() - began < SEALED_WITHIN_S, f"{left} entries are not sealed")
            await asyncio.sleep(0.2)


def _kills(chance: random.Random) -> Iterator[Kill]:
    """Yield what to kill: each as often as the others, in no order."""
    while True:
        kinds = list(Kill)
        chance.shuffle(kinds)
        yield from kinds


def _go_on_and_kill(
    machine: Machine, writers: Sequence[Writer], journal: Round, kill: Kill, chance: random.Random
) -> float:
    """Have them write, kill something in their midst, bring it back, and return how many seconds that took."""
    stop = threading.Event()
    threads = [threading.Thread(target=writer.work, args=(journal, stop)) for writer in writers]
    for thread in threads:
        thread.start()
    try:
        time.sleep(chance.uniform(SOONEST_S, LATEST_S))
        began = time.monotonic()
        machine.kill(kill, chance)
        time.sleep(GOING_ON_S)
    finally:
        stop.set()
    if kill is Kill.POSTGRES:
        # The service is still there, and answers each.
        for thread in threads:
            thread.join()
    machine.revive(kill)
    took_s = time.monotonic() - began
    for thread in threads:
        thread.join()
    return took_s


def _settle(writers: Sequence[Writer], journal: Round, outcome: Crashed) -> None:
    unknown = journal.of(Told.UNKNOWN)
    for writer in writers:
        writer.settle(journal)
    done = len([one for one in journal.acts if one.settled])
    outcome.settled.update({"done": done, "not done": len(unknown) - done})


async def hold(machine: Machine, acknowledged: Acknowledged, journal: Round, records: int) -> Counter[str]:
    """Hold a round against the database; see `drills/acknowledged.py: Acknowledged.hold`."""
    async with machine.superuser() as superuser:
        return await acknowledged.hold(superuser, journal, records, machine.logs)


def require_values(owner: Caller, writers: Sequence[Writer]) -> None:
    """Read every record that there is, and hold what is encrypted against what was acknowledged.

    Raises:
        DrillError: one is other than that, or is not there.
    """
    must = {f"Record:{key}": one for writer in writers for key, one in writer.records.items()}
    seen, after = set(), None
    while True:
        page = owner.data(_RECORDS, {"first": _PAGE, "after": after})["records"]
        for node in page["nodes"]:
            kept = must.get(node.pop("id"))
            is_same = kept is not None and kept.shown == node
            require(is_same, f"a record is read as something else than was acknowledged: {kept and kept.record_id}")
            seen.add(kept)
        if not page["pageInfo"]["hasNextPage"]:
            break
        after = page["pageInfo"]["endCursor"]
    require(len(seen) == len(must), f"{len(must) - len(seen)} records are not listed")


def verify_keys(machine: Machine) -> int:
    """Have every value opened, in rows and trail, and return how many there are.

    Raises:
        DrillError: one does not open.
    """
    done = _run(machine, "keys", "verify", "--json")
    require(done.returncode == 0, f"keys verify ended with {done.returncode}: {(done.stdout + done.stderr)[-500:]}")
    found = json.loads(done.stdout)
    require(found["broken"] == [], f"values do not open: {found['broken'][:3]}")
    return int(found["opened"])


def _run(machine: Machine, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "fieldward", *arguments],
        cwd=ROOT,
        env=machine.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
