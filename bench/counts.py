"""What a request costs, as counts: kept in a file, and compared with those of the last commit.

Everything here is a function of figures. They are taken in `bench/sections/counts.py`, and the last commit's are found
in `bench/last_commit.py`.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from bench.report import table

MOST_GROWTH: Final = 0.15
"""How much a count may grow from one commit to the next, as a part of what it was."""
TOLERANCES: Final[Mapping[str, float]] = {
    "ways": 0.0,
    "statements": 0.0,
    "decisions": 0.0,
    "bytes": 0.01,
    "bytecodes": 0.03,
    # Whether the database's answer arrives in one piece or in two makes 76 calls of the 1,800 of a change.
    "calls": 0.05,
}
"""The counts, and how far each may lie from what the file says, as a part of it."""
OF_PYTHON: Final = frozenset({"bytecodes", "calls"})
"""Those that another version of Python makes another number of."""
COMMAND: Final = "python -m bench counts --write"


class CountsFileError(ValueError):
    """A file of counts is none. The message says what is wrong with it."""


class AcceptanceError(ValueError):
    """What is to be accepted is given otherwise than it must be."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What one request of each workload takes. `accepted` says why counts grew, each by its name, as `B.statements`."""

    python: str
    records: int
    workloads: Mapping[str, Mapping[str, float]]
    accepted: Mapping[str, str] = field(default_factory=dict)

    def names(self) -> Iterator[tuple[str, str, str]]:
        """Yield each count's name, as `B.statements`, its workload, and what is counted."""
        return ((f"{work}.{kind}", work, kind) for work, kinds in self.workloads.items() for kind in kinds)

    def value(self, work: str, kind: str) -> float | None:
        """Return a count; None where it was not made."""
        return self.workloads.get(work, {}).get(kind)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a comparison has found: what must not be, and what is good to know."""

    problems: Sequence[str] = ()
    notes: Sequence[str] = ()


def parsed(text: str) -> Counts:
    """Return the counts that a file holds.

    Raises:
        CountsFileError: it does not hold any.
    """
    try:
        data: dict[str, Any] = json.loads(text)
        workloads = {
            str(work): {str(kind): float(value) for kind, value in kinds.items()}
            for work, kinds in data["workloads"].items()
        }
        accepted = {str(name): str(why) for name, why in data.get("accepted", {}).items() if str(why).strip()}
        return Counts(str(data["python"]), int(data["records"]), workloads, accepted)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CountsFileError(f"This is no file of counts: {type(error).__name__}: {error}") from error


def as_data(counts: Counts) -> dict[str, Any]:
    """Return what a file of these counts holds."""
    return {
        "python": counts.python,
        "records": counts.records,
        "accepted": dict(counts.accepted),
        "workloads": {
            work: {kind: int(value) if value == int(value) else value for kind, value in kinds.items()}
            for work, kinds in counts.workloads.items()
        },
    }


def written(counts: Counts) -> str:
    """Return the text of a file of these counts: one to a line, so that a difference reads as one."""
    return json.dumps(as_data(counts), indent=2, ensure_ascii=False) + "\n"


def judged(now: Counts, committed: Counts | None, before: Counts, accepted: Mapping[str, str]) -> Verdict:
    """Return what is wrong with what was counted now.

    committed: what the file says. before: what it said in the last commit; a growth is measured from there. accepted:
    what was accepted since.
    """
    if committed is None:
        return Verdict([f"There is no file of counts. {COMMAND} writes it."])
    problems = list(_lies(now, committed))
    notes: list[str] = []
    if before.records != now.records:
        notes.append(f"The last commit counted with {before.records:,} records: nothing is compared with it.")
        return Verdict(problems, notes)
    if before.python != now.python:
        notes.append(f"The last commit's bytecodes and calls are Python {before.python}'s: they are not compared.")
    grown = dict(growths(before, now))
    for name, said in grown.items():
        if name in accepted:
            notes.append(f"{said}. Accepted: {accepted[name]}")
        else:
            problems.append(f'{said}. If it must be: {COMMAND} --accept "{name}=why"')
    notes += [f"{name} is accepted, and has not grown." for name in accepted if name not in grown]
    return Verdict(problems, notes)


def growths(before: Counts, now: Counts, most: float = MOST_GROWTH) -> Iterator[tuple[str, str]]:
    """Yield each count that has grown by more than that part of what it was, and how it reads."""
    for name, work, kind in now.names():
        was, value = before.value(work, kind), now.workloads[work][kind]
        if was is None or not _are_comparable(before, now, kind):
            continue
        if value > was * (1 + most):
            yield name, f"{name} grew from {was:,g} to {value:,g}, by {_part(was, value)}; the most is {most:.0%}"


def accepted_in(steps: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return what changes of the file accept, each given as its text after and before.

    What a file held before already was for a growth before.
    """
    found: dict[str, str] = {}
    for after, before in steps:
        said = parsed(before).accepted if before else {}
        new = parsed(after).accepted if after else {}
        found.update({name: why for name, why in new.items() if said.get(name) != why})
    return found


def renewed(now: Counts, committed: Counts | None, before: Counts, given: Sequence[str]) -> Counts:
    """Return what the file is to hold: the counts, and what is accepted since the last commit.

    given: more that is accepted, each as `B.statements=why`.

    Raises:
        AcceptanceError: it is not given like that.
    """
    kept = committed.accepted.items() if committed else ()
    accepted = {name: why for name, why in kept if before.accepted.get(name) != why}
    for one in given:
        name, _, why = (part.strip() for part in one.partition("="))
        if name not in {known for known, _, _ in now.names()} or not why:
            raise AcceptanceError(f'expected a count and a reason, as "B.statements=why", and not "{one}"')
        accepted[name] = why
    return replace(now, accepted=accepted)


def rows_of(before: Counts, now: Counts) -> list[str]:
    """Return the table of what was and is."""
    rows = []
    for name, work, kind in now.names():
        was, value = before.value(work, kind), now.workloads[work][kind]
        ratio = "-" if was is None or not _are_comparable(before, now, kind) else f"{_ratio(was, value):.3f}"
        rows.append([name, "-" if was is None else f"{was:,g}", f"{value:,g}", ratio])
    return table(["count, for a request", "last commit", "now", "ratio"], rows)


def _are_comparable(one: Counts, other: Counts, kind: str) -> bool:
    return kind not in OF_PYTHON or one.python == other.python


def _lies(now: Counts, committed: Counts) -> Iterator[str]:
    """Yield what the file says and is not so."""
    mended = f"{COMMAND} writes what is counted"
    if committed.records != now.records:
        yield f"The file holds counts over {committed.records:,} records, not {now.records:,}. {mended}."
        return
    for name, work, kind in now.names():
        said, value = committed.value(work, kind), now.workloads[work][kind]
        if said is None:
            yield f"{name} is not in the file. {mended}."
        elif _are_comparable(committed, now, kind) and abs(value - said) > said * TOLERANCES[kind]:
            yield f"{name} is {value:,g}, and the file says {said:,g}. {mended}."
    made = {name for name, _, _ in now.names()}
    for name, _, _ in committed.names():
        if name not in made:
            yield f"{name} is in the file, and not counted. {mended}."


def _ratio(was: float, value: float) -> float:
    if was == 0:
        return 1.0 if value == 0 else math.inf
    return value / was


def _part(was: float, value: float) -> str:
    return "all of it" if was == 0 else f"{value / was - 1:.0%}"
