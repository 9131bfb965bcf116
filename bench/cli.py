"""The command line: `python -m bench --help`. Here are the commands that load servers; `all` has every section."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import typer

from bench import cost_command, count_command
from bench.command import (
    DEFAULT,
    EVERY_WORK,
    AsJson,
    Connections,
    Directory,
    GeneratorOption,
    Large,
    Minutes,
    Note,
    Records,
    Rounds,
    Seconds,
    Targets,
    WarmUp,
    Works,
    Write,
    opened,
    plan_of,
    publish,
)
from bench.load import Generator
from bench.report import Report, workload_report
from bench.run import measure_targets
from bench.sections.audit import measure_audit
from bench.sections.depth import measure_depth
from bench.sections.encryption import Cipher, measure_encryption
from bench.sections.export import measure_export
from bench.sections.guards import measure_guards
from bench.sections.importing import measure_import
from bench.sections.latency import measure_latency
from bench.sections.memory import measure_memory
from bench.sections.overload import measure_overload
from bench.sections.sealing import measure_sealing
from bench.sections.series import measure_series
from bench.sections.sign_in_timing import Question, measure_sign_in_timing
from bench.sections.workers import measure_workers
from bench.server import Databases
from bench.targets.fieldward import FieldwardTarget

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
    plan = plan_of(directory, records, rounds, seconds, warm_up, connections, generator, targets, works)
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
    plan = plan_of(directory, records, rounds, seconds, warm_up, connections, generator)
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
    plan = plan_of(directory, records, rounds, seconds, warm_up, connections, generator)
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
    plan = plan_of(directory, records, rounds, seconds, 0, connections, generator, targets, works)
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
    plan = plan_of(directory, records, 1, 1, 0, connections, generator)
    with opened(directory) as databases:
        report = measure_memory(plan, databases, minutes)
    publish(report, as_json=as_json, write=write, note=note)


app.command("encryption")(cost_command.encryption_command)
app.command("audit")(cost_command.audit_command)
app.command("sealing")(cost_command.sealing_command)
app.command("export")(cost_command.export_command)
app.command("guards")(cost_command.guards_command)
app.command("overload")(cost_command.overload_command)
app.command("series")(cost_command.series_command)
app.command("sign-in-timing")(cost_command.sign_in_timing_command)
app.command("import")(cost_command.import_command)
app.command("counts")(count_command.counts_command)


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
    plan = plan_of(directory, records, rounds, seconds, warm_up, connections, generator, targets)
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
        lambda databases: measure_overload(replace(plan, records=100, rounds=3), databases, 1000),
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


def _sizes(records: int, large: bool) -> list[int]:
    return [records, records * 10, *([records * 100] if large else [])]
