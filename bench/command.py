"""What the commands share: their options, the plan that they make, and how a run begins and ends."""

import json
import signal
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from bench.answers import DisagreementError
from bench.load import Generator, LoadError, settle_generator
from bench.process import ProcessError
from bench.report import Report
from bench.run import TARGETS, Plan, say
from bench.server import Databases
from bench.targets.base import RefusedError
from bench.work import Work
from fieldward.embedded import EmbeddedPostgresError

Directory = Annotated[Path, typer.Option(help="Where everything goes that a run makes.")]
Records = Annotated[int, typer.Option(min=100, help="How many records there are.")]
Rounds = Annotated[int, typer.Option(min=1, help="How many windows each figure is the median of.")]
Seconds = Annotated[float, typer.Option(min=1, help="How long a window is.")]
WarmUp = Annotated[float, typer.Option(min=0, help="Seconds of load before a target's first window of a workload.")]
Connections = Annotated[int, typer.Option(min=1, help="How many requests are on their way at once.")]
GeneratorOption = Annotated[Generator, typer.Option(help="What makes the load.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Write = Annotated[bool, typer.Option("--write", help="Put the tables into bench/README.md.")]
Note = Annotated[str | None, typer.Option(help="Said above the tables that --write writes.")]

DEFAULT: Final = Path(".fieldward-bench")
Targets = Annotated[str | None, typer.Option(help=f"Of {','.join(TARGETS)}; all by default.")]
Works = Annotated[str, typer.Option(help="Which workloads.")]
Minutes = Annotated[float, typer.Option(min=0.1, help="How long the memory is looked at.")]
Large = Annotated[bool, typer.Option("--large", help="A hundred times the records, too.")]

EVERY_WORK: Final = ",".join(Work)


@contextmanager
def opened(directory: Path) -> Iterator[Databases]:
    """Yield PostgreSQL; whatever goes wrong inside is said in one line, and ends with 1.

    A SIGTERM ends the run as Ctrl-C does: with every process stopped that it has started.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    directory = directory.resolve()
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    try:
        say("PostgreSQL: start")
        with Databases(directory) as databases:
            yield databases
    except (DisagreementError, RefusedError, LoadError, ProcessError, EmbeddedPostgresError) as error:
        refuse(str(error), code=1)
    except KeyboardInterrupt:
        refuse("stopped", code=130)


def publish(report: Report, *, as_json: bool, write: bool, note: str | None) -> None:
    """Print a report, and write it down if that was asked for."""
    print(json.dumps(report.data, indent=1) if as_json else report.text)
    if write:
        report.write(note)


def refuse(message: str, *, code: int = 2) -> NoReturn:
    """Say in one line what was wrong, and exit."""
    print(f"bench: {message}", file=sys.stderr)
    sys.exit(code)


def plan_of(
    directory: Path,
    records: int,
    rounds: int,
    seconds: float,
    warm_up_s: float,
    connections: int,
    generator: Generator,
    targets: str | None = None,
    works: str = EVERY_WORK,
) -> Plan:
    """Return what is to be measured and how; what was asked for wrongly is said, and ends with 2."""
    try:
        settled = settle_generator(generator)
    except LoadError as error:
        refuse(str(error))
    return Plan(
        directory=directory.resolve(),
        targets=_names(targets, TARGETS, "--targets") if targets else list(TARGETS),
        works=[Work(one) for one in _names(works, list(Work), "--works")],
        records=records,
        rounds=rounds,
        seconds=seconds,
        warm_up_s=warm_up_s,
        connections=connections,
        generator=settled,
    )


def _names(given: str, known: Collection[str], option: str) -> list[str]:
    names = [one.strip() for one in given.split(",") if one.strip()]
    unknown = [one for one in names if one not in known]
    if unknown or not names:
        refuse(f"{option}: expected some of {','.join(known)}")
    return list(dict.fromkeys(names))
