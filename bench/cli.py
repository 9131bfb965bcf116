"""The command line: `python -m bench --help`."""

import json
import signal
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from bench.answers import DisagreementError
from bench.load import Generator, LoadError, settle_generator
from bench.process import ProcessError
from bench.report import Report, workload_report
from bench.run import TARGETS, Plan, measure_targets, say
from bench.server import Databases
from bench.targets.base import RefusedError
from bench.work import Work
from fieldward.embedded import EmbeddedPostgresError

EXAMPLES = """
Measures Fieldward beside its peers, on one PostgreSQL, in one run. bench/README.md says how to read it.

Examples:

  python -m bench run

  python -m bench run --targets fieldward,limit --works A,C --seconds 3 --rounds 1

Exit codes: 0 done; 1 a target answers wrongly, a request failed, or something broke; 2 wrong usage; 3 done, without a
target that was asked for by name.
"""

app = typer.Typer(
    help=EXAMPLES, no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
)

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

DEFAULT = Path(".fieldward-bench")


@app.callback()
def _commands() -> None:
    """Keep `run` a command of its own while it is the only one."""


@app.command("run")
def run_command(
    directory: Directory = DEFAULT,
    targets: Annotated[str | None, typer.Option(help=f"Of {','.join(TARGETS)}; all by default.")] = None,
    works: Annotated[str, typer.Option(help="Which workloads.")] = ",".join(Work),
    records: Records = 100_000,
    rounds: Rounds = 3,
    seconds: Seconds = 10,
    warm_up: WarmUp = 2,
    connections: Connections = 16,
    generator: GeneratorOption = Generator.AUTO,
    as_json: AsJson = False,
    write: Write = False,
    note: Note = None,
) -> None:
    """Measure the workloads A to E on every target.

    Example: python -m bench run --targets fieldward,postgraphile --works A,B --seconds 5
    """
    names = _names(targets, TARGETS, "--targets") if targets else list(TARGETS)
    chosen = [Work(one) for one in _names(works, list(Work), "--works")]
    with opened(directory) as databases:
        plan = Plan(
            directory=directory.resolve(),
            targets=names,
            works=chosen,
            records=records,
            rounds=rounds,
            seconds=seconds,
            warm_up_s=warm_up,
            connections=connections,
            generator=settle_generator(generator),
        )
        outcome = measure_targets(plan, databases)
    publish(workload_report(outcome), as_json=as_json, write=write, note=note)
    if targets and outcome.skipped:
        sys.exit(3)


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


def _names(given: str, known: Collection[str], option: str) -> list[str]:
    names = [one.strip() for one in given.split(",") if one.strip()]
    unknown = [one for one in names if one not in known]
    if unknown or not names:
        refuse(f"{option}: expected some of {','.join(known)}")
    return list(dict.fromkeys(names))
