"""The commands that measure what a capability of Fieldward costs, each beside the same without it."""

from typing import Annotated

import typer

from bench.command import (
    DEFAULT,
    AsJson,
    Connections,
    Directory,
    GeneratorOption,
    Note,
    Records,
    Rounds,
    Seconds,
    WarmUp,
    Write,
    opened,
    plan_of,
    publish,
    refuse,
)
from bench.load import Generator
from bench.sections.audit import measure_audit
from bench.sections.encryption import Cipher, measure_encryption
from bench.sections.export import measure_export
from bench.sections.guards import measure_guards
from bench.sections.importing import USUAL, measure_import
from bench.sections.overload import MOST_TIMES, measure_overload
from bench.sections.sealing import measure_sealing
from bench.sections.series import measure_series
from bench.sections.sign_in_timing import Question, measure_sign_in_timing


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
    plan = plan_of(directory, records, rounds, 1, 0, 1, Generator.AUTO)
    with opened(directory) as databases:
        report = measure_encryption(plan, databases, cipher)
    publish(report, as_json=as_json, write=write, note=note)


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
    plan = plan_of(directory, records, rounds, seconds, warm_up, connections, generator)
    with opened(directory) as databases:
        report = measure_audit(plan, databases)
    publish(report, as_json=as_json, write=write, note=note)


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
    plan = plan_of(directory, 100, 1, seconds, 0, 1, Generator.AUTO)
    with opened(directory) as databases:
        report = measure_sealing(plan, databases, entries, organizations)
    publish(report, as_json=as_json, write=write, note=note)


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
    plan = plan_of(directory, rows, 1, 1, 0, 1, Generator.AUTO)
    with opened(directory) as databases:
        report = measure_export(plan, databases, rows)
    publish(report, as_json=as_json, write=write, note=note)


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
    plan = plan_of(directory, records, rounds, 1, 0, 1, Generator.AUTO)
    with opened(directory) as databases:
        report = measure_guards(plan, databases)
    publish(report, as_json=as_json, write=write, note=note)


def overload_command(
    directory: Directory = DEFAULT,
    tries: Annotated[int, typer.Option(min=100, help="How many answers beside each bomb.")] = 1000,
    rounds: Rounds = 3,
    as_json: AsJson = False,
    write: Write = False,
    note: Note = None,
) -> None:
    """Measure a cheap query beside clients that send bombs; exit with 1 where one slows it down too much.

    Example: python -m bench overload --tries 300 --rounds 1
    """
    plan = plan_of(directory, 100, rounds, 1, 0, 1, Generator.AUTO)
    with opened(directory) as databases:
        report = measure_overload(plan, databases, tries)
    publish(report, as_json=as_json, write=write, note=note)
    if report.data[report.name]["worst"] > MOST_TIMES:
        refuse(f"a cheap query took more than {MOST_TIMES:.0f} times as long beside a bomb", code=1)


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
    plan = plan_of(directory, 1000, rounds, 1, 0, 1, Generator.AUTO)
    with opened(directory) as databases:
        report = measure_series(plan, databases, readings)
    publish(report, as_json=as_json, write=write, note=note)


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
    plan = plan_of(directory, 100, 1, 1, 0, 1, Generator.AUTO)
    with opened(directory) as databases:
        report = measure_sign_in_timing(plan, databases, question, tries)
    publish(report, as_json=as_json, write=write, note=note)
    if report.data[report.name]["differ"]:
        refuse("the answers' times tell accounts apart", code=1)


def import_command(
    directory: Directory = DEFAULT,
    rows: Annotated[int, typer.Option(min=100, help="How many rows the file has.")] = 100_000,
    results: Annotated[int, typer.Option(min=1, max=4, help="How many of them are one record.")] = USUAL,
    as_json: AsJson = False,
    write: Write = False,
    note: Note = None,
) -> None:
    """Measure the import of a file: rows per second, memory, and how it compares to COPY of the same rows.

    Example: python -m bench import --rows 1000000 --results 1 --write
    """
    plan = plan_of(directory, 100, 1, 1, 0, 1, Generator.AUTO)
    with opened(directory) as databases:
        report = measure_import(plan, databases, rows, results)
    publish(report, as_json=as_json, write=write, note=note)
