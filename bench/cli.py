"""The command line: `python -m bench --help`."""

import json
import signal
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from bench.answers import DisagreementError
from bench.counts import (
    AcceptanceError,
    CountsFileError,
    accepted_in,
    as_data,
    judged,
    parsed,
    renewed,
    rows_of,
    written,
)
from bench.last_commit import in_last_commit
from bench.load import Generator, LoadError, settle_generator
from bench.process import ROOT, ProcessError
from bench.report import Report, workload_report
from bench.run import TARGETS, Plan, measure_targets, say
from bench.sections.audit import measure_audit
from bench.sections.counts import RECORDS, measure_counts
from bench.sections.depth import measure_depth
from bench.sections.encryption import Cipher, measure_encryption
from bench.sections.export import measure_export
from bench.sections.guards import measure_guards
from bench.sections.importing import measure_import
from bench.sections.latency import measure_latency
from bench.sections.memory import measure_memory
from bench.sections.overload import MOST_TIMES, measure_overload
from bench.sections.sealing import measure_sealing
from bench.sections.series import measure_series
from bench.sections.sign_in_timing import Question, measure_sign_in_timing
from bench.sections.workers import measure_workers
from bench.server import Databases
from bench.targets.base import RefusedError
from bench.targets.fieldward import FieldwardTarget
from bench.work import Work
from fieldward.embedded import EmbeddedPostgresError

EXAMPLES = """
Measures Fieldward beside its peers, on one PostgreSQL, in one run. bench/README.md says how to read it.

Examples:

  python -m bench run

  python -m bench run --targets fieldward,limit --works A,C --seconds 3 --rounds 1

  python -m bench depth --large

  python -m bench all --write

  python -m bench counts --check

Exit codes: 0 done; 1 a target answers wrongly, a request failed, a count grew, or something broke; 2 wrong usage; 3
done, without a target that was asked for by name.
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


Targets = Annotated[str | None, typer.Option(help=f"Of {','.join(TARGETS)}; all by default.")]
Works = Annotated[str, typer.Option(help="Which workloads.")]
Minutes = Annotated[float, typer.Option(min=0.1, help="How long the memory is looked at.")]
Large = Annotated[bool, typer.Option("--large", help="A hundred times the records, too.")]

EVERY_WORK = ",".join(Work)


@app.command("run")
def run_command(
    directory: Directory = DEFAULT,
    targets: Targets = None,
    works: Works = EVERY_WORK,
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
    plan = _plan(directory, records, rounds, seconds, warm_up, connections, generator, targets, works)
    with opened(directory) as databases:
        outcome = measure_targets(plan, databases)
    publish(workload_report(outcome), as_json=as_json, write=write, note=note)
    if targets and outcome.skipped:
        sys.exit(3)


@app.command("depth")
def depth_command(
    directory: Directory = DEFAULT,
    records: Records = 100_000,
    rounds: Rounds = 3,
    seconds: Seconds = 10,
    warm_up: WarmUp = 2,
    connections: Connections = 16,
    generator: GeneratorOption = Generator.AUTO,
    large: Large = False,
    as_json: AsJson = False,
    write: Write = False,
    note: Note = None,
) -> None:
    """Measure Fieldward's page of 100 with ten times the records, and far down a list.

    Example: python -m bench depth --large --rounds 1
    """
    plan = _plan(directory, records, rounds, seconds, warm_up, connections, generator)
    with opened(directory) as databases:
        report = measure_depth(plan, databases, _sizes(records, large))
    publish(report, as_json=as_json, write=write, note=note)


@app.command("workers")
def workers_command(
    directory: Directory = DEFAULT,
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
    """Measure two server processes beside one.

    Example: python -m bench workers --seconds 5
    """
    plan = _plan(directory, records, rounds, seconds, warm_up, connections, generator)
    with opened(directory) as databases:
        report = measure_workers(plan, databases)
    publish(report, as_json=as_json, write=write, note=note)


@app.command("latency")
def latency_command(
    directory: Directory = DEFAULT,
    targets: Targets = FieldwardTarget.name,
    works: Works = EVERY_WORK,
    records: Records = 100_000,
    rounds: Rounds = 3,
    seconds: Seconds = 10,
    connections: Connections = 16,
    generator: GeneratorOption = Generator.AUTO,
    as_json: AsJson = False,
    write: Write = False,
    note: Note = None,
) -> None:
    """Measure how long requests take at half the load that a server bears.

    Example: python -m bench latency --targets fieldward,postgraphile --works A,C
    """
    plan = _plan(directory, records, rounds, seconds, 0, connections, generator, targets, works)
    with opened(directory) as databases:
        report = measure_latency(plan, databases)
    publish(report, as_json=as_json, write=write, note=note)


@app.command("memory")
def memory_command(
    directory: Directory = DEFAULT,
    records: Records = 100_000,
    minutes: Minutes = 5,
    connections: Connections = 16,
    generator: GeneratorOption = Generator.AUTO,
    as_json: AsJson = False,
    write: Write = False,
    note: Note = None,
) -> None:
    """Look at the memory of one server process while it works.

    Example: python -m bench memory --minutes 30
    """
    plan = _plan(directory, records, 1, 1, 0, connections, generator)
    with opened(directory) as databases:
        report = measure_memory(plan, databases, minutes)
    publish(report, as_json=as_json, write=write, note=note)


@app.command("encryption")
def encryption_command(
    directory: Directory = DEFAULT,
    records: Records = 100_000,
    rounds: Rounds = 3,
    cipher: Annotated[Cipher, typer.Option(help="What the column is sealed with.")] = Cipher.GCM_SIV,
    as_json: AsJson = False,
    write: Write = False,
    note: Note = None,
) -> None:
    """Measure what encryption costs: a page of 1,000 records with an encrypted column, plain, and not asked for.

    Example: python -m bench encryption --rounds 5
    """
    plan = _plan(directory, records, rounds, 1, 0, 1, Generator.AUTO)
    with opened(directory) as databases:
        report = measure_encryption(plan, databases, cipher)
    publish(report, as_json=as_json, write=write, note=note)


@app.command("audit")
def audit_command(
    directory: Directory = DEFAULT,
    records: Records = 50_000,
    rounds: Rounds = 5,
    seconds: Seconds = 5,
    warm_up: WarmUp = 2,
    connections: Connections = 16,
    generator: GeneratorOption = Generator.AUTO,
    as_json: AsJson = False,
    write: Write = False,
    note: Note = None,
) -> None:
    """Measure what the audit trail costs: mutations with entry and triggers, and without.

    Example: python -m bench audit --rounds 3 --seconds 3
    """
    plan = _plan(directory, records, rounds, seconds, warm_up, connections, generator)
    with opened(directory) as databases:
        report = measure_audit(plan, databases)
    publish(report, as_json=as_json, write=write, note=note)


@app.command("sealing")
def sealing_command(
    directory: Directory = DEFAULT,
    entries: Annotated[int, typer.Option(min=300, help="How many entries wait at first.")] = 100_000,
    organizations: Annotated[int, typer.Option(min=2, help="Of how many organizations, the second time.")] = 20,
    seconds: Seconds = 30,
    as_json: AsJson = False,
    write: Write = False,
    note: Note = None,
) -> None:
    """Measure how fast the trail is sealed, and whether sealing keeps up with 1,000 entries a second.

    Example: python -m bench sealing --seconds 60
    """
    plan = _plan(directory, 100, 1, seconds, 0, 1, Generator.AUTO)
    with opened(directory) as databases:
        report = measure_sealing(plan, databases, entries, organizations)
    publish(report, as_json=as_json, write=write, note=note)


@app.command("export")
def export_command(
    directory: Directory = DEFAULT,
    rows: Annotated[int, typer.Option(min=1000, help="How many records are exported.")] = 100_000,
    as_json: AsJson = False,
    write: Write = False,
    note: Note = None,
) -> None:
    """Measure how fast exports are made, and their memory, beside COPY TO of the same rows.

    Example: python -m bench export --rows 1000000 --write
    """
    plan = _plan(directory, rows, 1, 1, 0, 1, Generator.AUTO)
    with opened(directory) as databases:
        report = measure_export(plan, databases, rows)
    publish(report, as_json=as_json, write=write, note=note)


@app.command("guards")
def guards_command(
    directory: Directory = DEFAULT,
    records: Records = 20_000,
    rounds: Rounds = 3,
    as_json: AsJson = False,
    write: Write = False,
    note: Note = None,
) -> None:
    """Measure what the guards cost: a page of 1,000 records with them and without.

    Example: python -m bench guards --rounds 5
    """
    plan = _plan(directory, records, rounds, 1, 0, 1, Generator.AUTO)
    with opened(directory) as databases:
        report = measure_guards(plan, databases)
    publish(report, as_json=as_json, write=write, note=note)


@app.command("overload")
def overload_command(
    directory: Directory = DEFAULT,
    tries: Annotated[int, typer.Option(min=100, help="How many answers beside each bomb.")] = 1000,
    as_json: AsJson = False,
    write: Write = False,
    note: Note = None,
) -> None:
    """Measure a cheap query beside clients that send bombs; exit with 1 where one slows it down too much.

    Example: python -m bench overload --tries 300
    """
    plan = _plan(directory, 100, 1, 1, 0, 1, Generator.AUTO)
    with opened(directory) as databases:
        report = measure_overload(plan, databases, tries)
    publish(report, as_json=as_json, write=write, note=note)
    if report.data[report.name]["worst"] > MOST_TIMES:
        refuse(f"a cheap query took more than {MOST_TIMES:.0f} times as long beside a bomb", code=1)


@app.command("series")
def series_command(
    directory: Directory = DEFAULT,
    readings: Annotated[int, typer.Option(min=1000, help="How many readings there are.")] = 1_000_000,
    rounds: Rounds = 5,
    as_json: AsJson = False,
    write: Write = False,
    note: Note = None,
) -> None:
    """Measure a chart of a million readings, beside plain SQL over the same rows.

    Example: python -m bench series --readings 100000
    """
    plan = _plan(directory, 1000, rounds, 1, 0, 1, Generator.AUTO)
    with opened(directory) as databases:
        report = measure_series(plan, databases, readings)
    publish(report, as_json=as_json, write=write, note=note)


@app.command("sign-in-timing")
def sign_in_timing_command(
    directory: Directory = DEFAULT,
    question: Annotated[Question, typer.Option(help="What is asked.")] = Question.SIGN_IN,
    tries: Annotated[int, typer.Option(min=20, max=240, help="How many answers of each kind.")] = 200,
    as_json: AsJson = False,
    write: Write = False,
    note: Note = None,
) -> None:
    """Compare the times of answers about accounts that there are and that there are not; exit with 1 if they differ.

    Example: python -m bench sign-in-timing --question reset
    """
    plan = _plan(directory, 100, 1, 1, 0, 1, Generator.AUTO)
    with opened(directory) as databases:
        report = measure_sign_in_timing(plan, databases, question, tries)
    publish(report, as_json=as_json, write=write, note=note)
    if report.data[report.name]["differ"]:
        refuse("the answers' times tell accounts apart", code=1)


@app.command("import")
def import_command(
    directory: Directory = DEFAULT,
    rows: Annotated[int, typer.Option(min=100, help="How many rows the file has.")] = 100_000,
    as_json: AsJson = False,
    write: Write = False,
    note: Note = None,
) -> None:
    """Measure the import of a file: rows per second, memory, and how it compares to COPY of the same rows.

    Example: python -m bench import --rows 1000000 --write
    """
    plan = _plan(directory, 100, 1, 1, 0, 1, Generator.AUTO)
    with opened(directory) as databases:
        report = measure_import(plan, databases, rows)
    publish(report, as_json=as_json, write=write, note=note)


COUNTS = ROOT / "bench" / "counts.json"
Check = Annotated[bool, typer.Option("--check", help="Exit with 1 where a count grew too much, or the file is wrong.")]


@app.command("counts")
def counts_command(
    directory: Directory = DEFAULT / "counts",
    records: Records = RECORDS,
    check: Check = False,
    against: Annotated[str | None, typer.Option(help="The commit to compare with, instead of the last one.")] = None,
    accept: Annotated[list[str] | None, typer.Option(help="COUNT=WHY, with --write: it may grow, this once.")] = None,
    as_json: AsJson = False,
    write: Annotated[bool, typer.Option("--write", help="Put the counts into bench/counts.json.")] = False,
) -> None:
    """Count what a request takes, without a clock, and compare it with the counts of the last commit.

    Examples:

      python -m bench counts

      python -m bench counts --check

      python -m bench counts --write --accept "B.statements=Devices are read apart, since …"
    """
    if accept and not write:
        refuse("--accept: goes with --write")
    earlier = in_last_commit(COUNTS, against=against)
    if against and earlier is None:
        refuse(f"--against: {against} has no bench/counts.json, or is not known here")
    with opened(directory) as databases:
        now = measure_counts(directory.resolve(), databases, records)
    try:
        committed = parsed(COUNTS.read_text()) if COUNTS.exists() else None
        before = parsed(earlier.text) if earlier else committed or now
        if write:
            committed = renewed(now, committed, before, accept or ())
            COUNTS.write_text(written(committed))
            # With the file changed, this commit is the last one.
            earlier = in_last_commit(COUNTS, against=against)
            before = parsed(earlier.text) if earlier else before
        verdict = judged(now, committed, before, accepted_in(earlier.steps) if earlier else {})
    except CountsFileError as error:
        refuse(f"bench/counts.json: {error}", code=1)
    except AcceptanceError as error:
        refuse(f"--accept: {error}")
    called = earlier.called if earlier else "bench/counts.json as it is: git knows of none in the last commit"
    if as_json:
        compared = {"compared_with": called, "before": as_data(before), **asdict(verdict)}
        print(json.dumps({**as_data(now), **compared}, indent=1))
    else:
        print("\n".join([*rows_of(before, now), "", f"Compared with {called}."]))
    for line in [*verdict.notes, *verdict.problems]:
        say(line)
    if check and verdict.problems:
        refuse("the counts are not as they must be", code=1)


@app.command("all")
def all_command(
    directory: Directory = DEFAULT,
    targets: Targets = None,
    records: Records = 100_000,
    rounds: Rounds = 3,
    seconds: Seconds = 10,
    warm_up: WarmUp = 2,
    connections: Connections = 16,
    generator: GeneratorOption = Generator.AUTO,
    minutes: Minutes = 5,
    large: Large = False,
    as_json: AsJson = False,
    write: Write = False,
    note: Note = None,
) -> None:
    """Measure everything, each section on a PostgreSQL made from nothing.

    Example: python -m bench all --write
    """
    plan = _plan(directory, records, rounds, seconds, warm_up, connections, generator, targets)
    skipped: dict[str, str] = {}

    def workloads(databases: Databases) -> Report:
        outcome = measure_targets(plan, databases)
        skipped.update(outcome.skipped)
        return workload_report(outcome)

    sections: list[Callable[[Databases], Report]] = [
        workloads,
        lambda databases: measure_depth(plan, databases, _sizes(records, large)),
        lambda databases: measure_workers(plan, databases),
        lambda databases: measure_latency(replace(plan, targets=[FieldwardTarget.name]), databases),
        lambda databases: measure_memory(plan, databases, minutes),
        lambda databases: measure_guards(plan, databases),
        lambda databases: measure_series(plan, databases, 1_000_000),
        lambda databases: measure_encryption(plan, databases, Cipher.GCM_SIV),
        lambda databases: measure_encryption(plan, databases, Cipher.GCM),
        lambda databases: measure_audit(plan, databases),
        lambda databases: measure_sealing(plan, databases, records, 20),
        lambda databases: measure_overload(replace(plan, records=100), databases, 1000),
        lambda databases: measure_export(plan, databases, records),
        lambda databases: measure_import(replace(plan, records=100), databases, records),
        lambda databases: measure_sign_in_timing(replace(plan, records=100), databases, Question.SIGN_IN, 200),
    ]
    data: dict[str, Any] = {}
    for section in sections:
        with opened(directory) as databases:
            report = section(databases)
        # Each as soon as it is there: what a later one meets takes nothing away from it.
        data.update(report.data)
        if not as_json:
            print(report.text, end="\n\n", flush=True)
        if write:
            report.write(note)
    if as_json:
        print(json.dumps(data, indent=1))
    if targets and skipped:
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


def _plan(
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


def _sizes(records: int, large: bool) -> list[int]:
    return [records, records * 10, *([records * 100] if large else [])]


def _names(given: str, known: Collection[str], option: str) -> list[str]:
    names = [one.strip() for one in given.split(",") if one.strip()]
    unknown = [one for one in names if one not in known]
    if unknown or not names:
        refuse(f"{option}: expected some of {','.join(known)}")
    return list(dict.fromkeys(names))
