"""The command that counts what a request takes, without a clock, and compares it with what was committed."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from bench.command import DEFAULT, AsJson, Directory, Records, opened, refuse
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
from bench.process import ROOT
from bench.run import say
from bench.sections.counts import RECORDS, measure_counts

COUNTS = ROOT / "bench" / "counts.json"
Check = Annotated[bool, typer.Option("--check", help="Exit with 1 where a count grew too much, or the file is wrong.")]


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
