"""The command line: `python -m drills --help`."""

import json
import secrets
import shlex
import shutil
import signal
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from bench.report import Report, table
from drills.crash import Crashed, crash_under_load
from drills.error import DrillError
from drills.failover import CUTS, GOAL_S, KILLS, STOPS, FailedOver, failover_under_load
from drills.malformed import Malformed, malformed_under_watch
from drills.overload import Overloaded, overload
from drills.restore import PROMISED_S, RestoredTo, restore_under_load
from drills.rotation import Rotated, rotate_under_load

EXAMPLES = """
Goes through what must hold in bad hours, with real processes that are really killed. drills/README.md says how each
went the last time.

Examples:

  python -m drills rotation --records 100000 --write

  python -m drills crash --rounds 50 --write

  python -m drills malformed --count 100000 --write

  python -m drills failover --kills 20 --stops 10 --cuts 10 --write

  python -m drills restore --size-gb 5 --write

  python -m drills overload --seconds 60 --write

  python -m drills all

Exit codes: 0 everything held; 1 something did not, and what; 2 wrong usage.
"""

app = typer.Typer(
    help=EXAMPLES, no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
)

README = Path(__file__).resolve().parent / "README.md"

Directory = Annotated[Path, typer.Option(help="Where everything goes that a drill makes.")]
Records = Annotated[int, typer.Option(min=500, help="How many records there are.")]
Share = Annotated[float, typer.Option(min=0.05, max=1.0, help="The part of the time that the rotation works.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Write = Annotated[bool, typer.Option("--write", help="Put the table into drills/README.md.")]

DEFAULT = Path(".fieldward-bench/drill")


@app.command("rotation")
def rotation(
    directory: Directory = DEFAULT,
    records: Records = 100_000,
    share: Share = 0.5,
    as_json: AsJson = False,
    write: Write = False,
) -> None:
    """Rotate all keys while readers and writers go on, killing the rotation twice.

    Example: python -m drills rotation --records 5000
    """
    directory = directory.resolve()
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    try:
        found = rotate_under_load(directory, records, share=share, say=_say)
    except DrillError as error:
        print(f"drill: {error}", file=sys.stderr)
        raise typer.Exit(1) from error
    _publish(Report("rotation", _rotation_lines(found), asdict(found)), as_json=as_json, write=write)


@app.command("crash")
def crash(
    directory: Directory = DEFAULT,
    rounds: Annotated[int, typer.Option(min=1, help="How often something is killed.")] = 50,
    seed: Annotated[int | None, typer.Option(help="Of when what is killed; a new one by default.")] = None,
    as_json: AsJson = False,
    write: Write = False,
) -> None:
    """Kill the service and PostgreSQL at random moments while many write, and look for what is lost.

    Example: python -m drills crash --rounds 4 --seed 7
    """
    directory = directory.resolve() / "crash"
    shutil.rmtree(directory, ignore_errors=True)
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    try:
        found = crash_under_load(directory, rounds, seed=seed, say=_say)
    except DrillError as error:
        # What was found lies there, with the logs, for who looks into it.
        print(f"drill: {error}", file=sys.stderr)
        raise typer.Exit(1) from error
    shutil.rmtree(directory, ignore_errors=True)
    _publish(Report("crash", _crash_lines(found), asdict(found)), as_json=as_json, write=write)


@app.command("malformed")
def malformed(
    directory: Directory = DEFAULT,
    count: Annotated[int, typer.Option(min=100, help="How many operations are asked.")] = 100_000,
    seed: Annotated[int | None, typer.Option(help="Of the operations; a new one by default.")] = None,
    as_json: AsJson = False,
    write: Write = False,
) -> None:
    """Ask operations that are wrong, over every argument, and look for what breaks, leaks or is half-written.

    Example: python -m drills malformed --count 5000 --seed 7
    """
    directory = directory.resolve() / "malformed"
    shutil.rmtree(directory, ignore_errors=True)
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    try:
        found = malformed_under_watch(directory, count, seed=seed, say=_say)
    except DrillError as error:
        print(f"drill: {error}", file=sys.stderr)
        raise typer.Exit(1) from error
    shutil.rmtree(directory, ignore_errors=True)
    _publish(Report("malformed", _malformed_lines(found), asdict(found)), as_json=as_json, write=write)


@app.command("failover")
def failover(
    directory: Directory = DEFAULT,
    kills: Annotated[int, typer.Option(min=0, help="How often the primary is killed.")] = KILLS,
    stops: Annotated[int, typer.Option(min=0, help="How often it is stopped.")] = STOPS,
    cuts: Annotated[int, typer.Option(min=0, help="How often its machine is cut off.")] = CUTS,
    seed: Annotated[int | None, typer.Option(help="Of the order and the moments; a new one by default.")] = None,
    as_json: AsJson = False,
    write: Write = False,
) -> None:
    """Kill, stop and cut off the primary of three machines while many write, and look for what is lost or doubled.

    As often as by default, or more, it fails as well where a writer is kept from writing for longer than the goal.
    Takes root, for network namespaces, and Debian's etcd-server.

    Example: python -m drills failover --kills 2 --stops 2 --cuts 1
    """
    if kills + stops + cuts == 0:
        raise typer.BadParameter("Expected something to be done to the primary.")
    # Asked to end, it still ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    directory = directory.resolve() / "failover"
    shutil.rmtree(directory, ignore_errors=True)
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    try:
        found = failover_under_load(directory, kills=kills, stops=stops, cuts=cuts, seed=seed, say=_say)
    except DrillError as error:
        # What was found lies there, with the logs, for who looks into it.
        print(f"drill: {error}", file=sys.stderr)
        raise typer.Exit(1) from error
    shutil.rmtree(directory, ignore_errors=True)
    _publish(Report("failover", _failover_lines(found), asdict(found)), as_json=as_json, write=write)


@app.command("restore")
def restore(
    directory: Directory = DEFAULT,
    size_gb: Annotated[float, typer.Option(min=0.05, help="How large the database is, in 10^9 bytes.")] = 5.0,
    seed: Annotated[int | None, typer.Option(help="Of what is written; a new one by default.")] = None,
    as_json: AsJson = False,
    write: Write = False,
) -> None:
    """Restore a database to a moment at which many wrote, and look for what is missing or too much.

    Example: python -m drills restore --size-gb 0.2 --seed 7
    """
    directory = directory.resolve() / "restore"
    shutil.rmtree(directory, ignore_errors=True)
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    try:
        found = restore_under_load(directory, size_gb, seed=seed, say=_say)
    except DrillError as error:
        print(f"drill: {error}", file=sys.stderr)
        raise typer.Exit(1) from error
    shutil.rmtree(directory, ignore_errors=True)
    _publish(Report("restore", _restore_lines(found), asdict(found)), as_json=as_json, write=write)


@app.command("overload")
def overload_command(
    directory: Directory = DEFAULT,
    seconds: Annotated[float, typer.Option(min=2, help="How long the flood lasts.")] = 60.0,
    times: Annotated[float, typer.Option(min=2, help="Of what the service can do.")] = 10.0,
    as_json: AsJson = False,
    write: Write = False,
) -> None:
    """Ask for ten times as much as the service can do, and look for what breaks, waits, grows or does not recover.

    Example: python -m drills overload --seconds 10
    """
    directory = directory.resolve() / "overload"
    shutil.rmtree(directory, ignore_errors=True)
    try:
        found = overload(directory, seconds=seconds, times=times, say=_say)
    except DrillError as error:
        print(f"drill: {error}", file=sys.stderr)
        raise typer.Exit(1) from error
    shutil.rmtree(directory, ignore_errors=True)
    _publish(Report("overload", _overload_lines(found), asdict(found)), as_json=as_json, write=write)


@app.command("all")
def all_drills(directory: Directory = DEFAULT, write: Write = False) -> None:
    """Go through every drill at full size.

    Example: python -m drills all --write
    """
    rotation(directory=directory, write=write)
    crash(directory=directory, write=write)
    malformed(directory=directory, write=write)
    failover(directory=directory, write=write)
    restore(directory=directory, write=write)
    overload_command(directory=directory, write=write)


def _publish(report: Report, *, as_json: bool, write: bool) -> None:
    print(json.dumps(report.data) if as_json else report.text)
    if write:
        report.write(path=README)


def _heading() -> list[str]:
    command = shlex.join(["python", "-m", "drills", *sys.argv[1:]])
    return [f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, `{command}`", ""]


def _rotation_lines(found: Rotated) -> list[str]:
    rows = [
        ["records before", f"{found.records:,}"],
        ["seconds of rotation under load", f"{found.took_s:.0f}"],
        ["times killed by SIGKILL, and resumed", f"{found.kills}"],
        ["data keys replaced", f"{found.replaced:,}"],
        ["rows sealed anew, each with its change in the trail", f"{found.resealed:,}"],
        ["requests that failed, or showed another value than they must", "0"],
        ["pages read, and values held against what they must be", f"{found.read:,}, {found.values:,}"],
        ["records created, and changed", f"{found.created:,}, {found.updated:,}"],
        ["values opened at the end, in rows and trail", f"{found.opened:,}"],
        ["values that do not open, or lie under a replaced key", "0"],
        ["milliseconds of a request, median and 99th percentile", f"{found.p50_ms:.0f}, {found.p99_ms:.0f}"],
        ["the same before it began", f"{found.p50_before_ms:.0f}, {found.p99_before_ms:.0f}"],
        ["the slowest", f"{found.slowest_ms:.0f}"],
    ]
    return [*_heading(), *table(["what", "how much"], rows)]


def _crash_lines(found: Crashed) -> list[str]:
    told, held, settled = found.told, found.held, found.settled
    rows = [
        ["rounds, seed", f"{found.rounds}, {found.seed}"],
        *([f"killed by SIGKILL: {what}", f"{count}"] for what, count in sorted(found.kills.items())),
        ["seconds in all, and of an outage, median and longest", _seconds(found)],
        ["changes of records acknowledged, of which lost or doubled", f"{held['writes'] - settled['done']:,}, 0"],
        ["operations without an answer, found done and not done", f"{settled['done']}, {settled['not done']}"],
        ["creations tried again that were done, answered as they were", f"{told['REPEATED']}"],
        ["refused because the database is away, of which done after all", f"{told['AWAY']:,}, 0"],
        ["changes in the trail, of which without their entry", f"{held['changes']:,}, 0"],
        ["entries of changes that say DONE and have none", "0"],
        ["reads of confidential values answered, of which not in the log", f"{held['reads']:,}, 0"],
        ["refusals, with an entry of their own, else in the log", f"{told['REFUSED']:,}, {held['refused']:,}"],
        ["values of rows other than the changes say", "0"],
        ["records at the end, each read as it was acknowledged", f"{found.records:,}"],
        ["values opened at the end, in rows and trail", f"{found.opened:,}"],
        ["entries of the trail, sealed, and verified at the end", f"{found.sealed:,}"],
    ]
    return [*_heading(), *table(["what", "how much"], rows)]


def _failover_lines(found: FailedOver) -> list[str]:
    told, held, settled = found.told, found.held, found.settled
    late = sum(one > GOAL_S for pauses in found.pauses_s.values() for one in pauses)
    rows = [
        ["rounds, seed", f"{found.rounds}, {found.seed}"],
        *(
            [f"{what}: times, and seconds until the last could write, median and longest", _spread(pauses)]
            for what, pauses in sorted(found.pauses_s.items())
        ),
        ["another one became primary", f"{found.promotions}"],
        [f"longest of all, and how many longer than the goal of {GOAL_S:.0f} s", f"{found.longest_s:.1f}, {late}"],
        ["operations attempted, of which without a word", f"{found.attempted:,}, 0"],
        ["acknowledged, refused, refused as away, and unanswered where nobody has to know", _words(found)],
        ["changes of records acknowledged, of which lost or doubled", f"{held['writes']:,}, 0"],
        ["operations of which nobody could say what became of them", f"{settled['done'] + settled['not done']:,}"],
        ["of which found done, and done when sent again, each by its key", f"{settled['done']}, {settled['not done']}"],
        ["of which not resolved", "0"],
        ["refused because the database is away, of which done after all", f"{told['AWAY']:,}, 0"],
        ["changes in the trail, of which without their entry", f"{held['changes']:,}, 0"],
        ["reads of confidential values answered, of which not in the log", f"{held['reads']:,}, 0"],
        ["values of rows other than the changes say", "0"],
        ["records at the end, each read as it was acknowledged", f"{found.records:,}"],
        ["values opened at the end, in rows and trail", f"{found.opened:,}"],
        ["entries of the trail, sealed, and verified at the end", f"{found.sealed:,}"],
        ["seconds in all", f"{found.took_s:.0f}"],
    ]
    return [*_heading(), *table(["what", "how much"], rows)]


def _words(found: FailedOver) -> str:
    told = found.told
    counts = (told["DONE"] + told["REPEATED"], told["REFUSED"], told["AWAY"], found.unanswered)
    return ", ".join(f"{count:,}" for count in counts)


def _overload_lines(found: Overloaded) -> list[str]:
    early, most, end = found.memory_mb
    rows = [
        ["requests a second that one process answers, asked as fast as it does", f"{found.sustained:,.0f}"],
        ["milliseconds of those, median, 99th percentile and slowest", _three(found.sustained_ms)],
        ["requests a second that came, for how many seconds", f"{found.offered:,.0f}, {found.seconds:.0f}"],
        ["connections that they came over", f"{found.connections:,}"],
        ["requests that came, and found a connection to be sent over", f"{found.due:,}, {found.sent:,}"],
        ["served", f"{found.served:,}"],
        ["told to come again, by 429 or 503 with Retry-After", f"{found.refused:,}"],
        *([f"answered with status {status}", f"{count:,}"] for status, count in sorted(found.statuses.items())),
        ["answered otherwise, or not at all", f"{found.others:,}"],
        ["milliseconds of a refusal, median, 99th percentile and slowest", _three(found.refused_ms)],
        ["the same of what was served", _three(found.served_ms)],
        ["looks at /health/live meanwhile, of which not answered", f"{found.probes:,}, {found.unprobed:,}"],
        ["MiB of the process, when a tenth was over, at most and at the end", f"{early:.0f}, {most:.0f}, {end:.0f}"],
        ["seconds after the flood until a cheap query was as quick as before", f"{found.recovered_s:.1f}"],
        ["milliseconds that it took before", f"{found.cheap_ms:.0f}"],
    ]
    return [*_heading(), *table(["what", "how much"], rows)]


def _three(spread: Sequence[float]) -> str:
    return ", ".join(f"{one:,.0f}" for one in spread)


def _restore_lines(found: RestoredTo) -> list[str]:
    took = found.took_s or {}
    rows = [
        ["size of the database, GiB, and seed", f"{found.bytes / 2**30:.2f}, {found.seed}"],
        ["records that it was filled with", f"{found.filled:,}"],
        ["seconds of the backup, with writers at work", f"{found.backup_s:.0f}"],
        ["changes acknowledged before the moment, of which missing", f"{found.acknowledged:,}, 0"],
        ["changes begun after it, of which there", f"{found.after:,}, 0"],
        ["changes under way at it, either way", f"{found.under_way}"],
        ["the moment, and the last transaction that is there", f"{found.moment}, {found.last_transaction_at}"],
        ["segments of archived WAL that were replayed", f"{found.segments:,}"],
        ["seconds: to copy, to replay", f"{took.get('copy', 0):.1f}, {took.get('recover', 0):.1f}"],
        ["seconds: to start the database and bring it up to date", f"{took.get('start', 0):.1f}"],
        ["seconds: to end what must not work again, to serve", f"{took.get('settle', 0):.1f}, {found.ready_s:.1f}"],
        ["seconds until it is served, without the checks", f"{found.until_served_s:.0f}"],
        ["seconds of the checks", f"{took.get('check', 0):.0f}"],
        ["rows counted, of which missing or too many", f"{found.rows:,}, 0"],
        ["entries of the trail verified, values opened", f"{found.entries:,}, {found.opened:,}"],
        ["MiB in a second, copied and replayed", f"{found.mib_per_s:.0f}"],
        [f"GiB that are served again within {PROMISED_S / 60:.0f} minutes, at that rate", f"{found.promised_gib:.0f}"],
    ]
    return [*_heading(), *table(["what", "how much"], rows)]


def _spread(values: list[float]) -> str:
    return f"{len(values)}, {statistics.median(values):.1f}, {max(values):.1f}"


def _malformed_lines(found: Malformed) -> list[str]:
    codes = sorted(found.codes.items(), key=lambda one: -one[1])
    rows = [
        ["operations, seed", f"{found.asked:,}, {found.seed}"],
        ["of which break the contract", f"{found.broken:,}"],
        ["of which give what they give as variables", f"{found.by_variables:,}"],
        ["of which are subscriptions, over a WebSocket", f"{found.live:,}"],
        ["arguments and fields of inputs that were given, of how many", f"{found.reached:,}, {found.reachable:,}"],
        ["seconds", f"{found.took_s:.0f}"],
        *([f"answered {code or 'without an error'}", f"{count:,}"] for code, count in codes),
        *([f"answered with status {status}", f"{count:,}"] for status, count in sorted(found.statuses.items())),
        ["answers that are a failure, or say what they must not", "0"],
        ["requests that were refused and wrote something", "0"],
        ["mutations that may have done something", f"{found.written:,}"],
        ["values of rows other than the changes say", "0"],
        ["values opened at the end, in rows and trail", f"{found.opened:,}"],
        ["entries of the trail, sealed, and verified at the end", f"{found.sealed:,}"],
    ]
    return [*_heading(), *table(["what", "how much"], rows)]


def _seconds(found: Crashed) -> str:
    return f"{found.took_s:.0f}, {statistics.median(found.outages_s):.1f}, {max(found.outages_s):.1f}"


def _say(what: str) -> None:
    print(f"[{datetime.now(UTC):%H:%M:%S}] {what}", file=sys.stderr, flush=True)
