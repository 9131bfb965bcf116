"""What operations cost: counted outside of the service, and kept in a file that is read as a table."""

import asyncio
import json
import tomllib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, ParamSpec

from bench.decisions import DecisionCount
from bench.statement_log import StatementLog, Statements, counted
from models.pool import Purpose, pool_for

COSTS: Final = Path(__file__).resolve().parent.parent / "api" / "costs.toml"
P = ParamSpec("P")
HEADING: Final = """\
# What each operation of tests/api/test_cost.py costs. `make costs` counts anew, writes this file, and prints what is
# other than before. For each operation:
#
#   first       on a process that has just started and holds no key
#   then        each time after that
#   ways        ways to PostgreSQL and back, of all pools together, with those that begin and end transactions
#   statements  what read, wrote or locked among it
#   decisions   what the guards asked: one for each permission and scope
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What an operation costs on a process that has just started, and after that."""

    first: Statements
    then: Statements
    decisions: int

    def __str__(self) -> str:
        first, then = (f"{{ ways = {one.ways:2}, statements = {one.statements:2} }}" for one in (self.first, self.then))
        return f"{{ first = {first}, then = {then}, decisions = {self.decisions:2} }}"


class Meter:
    """Counts what happens while something is awaited."""

    def __init__(self, log: StatementLog, decisions: DecisionCount) -> None:
        self._log = log
        self._decisions = decisions

    async def ways(self, work: Callable[P, Awaitable[object]], *given: P.args, **named: P.kwargs) -> list[str]:
        """Return what was sent to PostgreSQL until the work was done: the text of each way."""
        self._log.read()
        await work(*given, **named)
        # Nobody waits for the end of a transaction that only read.
        for _ in range(1000):
            if not pool_for(Purpose.READING).in_use:
                break
            await asyncio.sleep(0.001)
        return self._log.read()

    async def count(
        self, work: Callable[P, Awaitable[object]], *given: P.args, **named: P.kwargs
    ) -> tuple[Statements, int]:
        """Return how many ways and statements the work took, and how many decisions were made."""
        self._decisions.read()
        ways = await self.ways(work, *given, **named)
        return counted(ways), self._decisions.read()


@dataclass(slots=True)
class CostBook:
    """The costs that the file holds, and those that were counted in this run."""

    expected: Mapping[str, Cost]
    counted: dict[str, Cost] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path = COSTS) -> "CostBook":
        """Read the file; it may be missing."""
        data = tomllib.loads(path.read_text()) if path.exists() else {}
        return cls({name: _cost(one) for name, one in data.items()})

    def changes(self) -> list[str]:
        """Return what was counted otherwise than the file says, a line for each."""
        return [
            f"{name}\n  was {self.expected.get(name, 'not counted')}\n  is  {cost}"
            for name, cost in self.counted.items()
            if self.expected.get(name) != cost
        ]

    def write(self, reasons: Mapping[str, str], path: Path = COSTS) -> None:
        """Write the file: each operation that there is, with why it costs what it does.

        reasons: by operation, in the file's order; empty where it is plain. What was not counted in this run stays.
        """
        kept = {**self.expected, **self.counted}
        names = [name for name in reasons if name in kept]
        width = max((len(json.dumps(name)) for name in names), default=0)
        lines = [HEADING]
        for name in names:
            if reasons[name]:
                lines.append(f"# {reasons[name]}")
            lines.append(f"{json.dumps(name):{width}} = {kept[name]}")
        path.write_text("\n".join(lines) + "\n")


def _cost(data: Mapping[str, Any]) -> Cost:
    return Cost(Statements(**data["first"]), Statements(**data["then"]), data["decisions"])
