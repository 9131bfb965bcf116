"""`audit verify`: whether the trail is what was sealed, and every row what the trail says."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from auth.principal import SYSTEM_ID
from fieldward.cli.environment import load_settings, operator, reach, refuse, run, services, trail_named
from fieldward.cli.progress import showing_progress
from models.ledger.checkpoint import CheckpointError, VerifierKey
from models.sealed_batch import HEADS_ID
from resolvers.kept_heads import KeptHead, parse_kept
from resolvers.pace import SLOWEST_PER_S, Pace
from resolvers.row_verification import CHANGES, ROWS
from resolvers.trail_verification import TrailVerification, verify_trail
from resolvers.tree_verification import SEALED

NOT_RIGHT = 7
"""The exit code where the trail, or a row, is not what it should be."""
MOST_HEAD_BYTES = 2**20

Organization = Annotated[
    str | None, typer.Option(help="The organization's slug, or - for what was done in none; all where none is named.")
]
Heads = Annotated[
    list[Path] | None,
    typer.Option("--head", help="A file with heads that were kept; may be repeated.", exists=True, dir_okay=False),
]
Witnesses = Annotated[
    list[str] | None, typer.Option("--witness", help="The verifier key of a witness; may be repeated.")
]
Rate = Annotated[
    float | None,
    typer.Option(min=SLOWEST_PER_S, help="Entries, changes and rows to look at in a second, at the most."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def verify(
    organization: Organization = None,
    head: Heads = None,
    witness: Witnesses = None,
    rate: Rate = None,
    as_json: AsJson = False,
) -> None:
    """Verify the trail while the service runs: each sealed entry, each signed head, and each row by its changes.

    Every entry is compared with what was sealed, every head with the entries before it, and all changes of a row, one
    over the other, with the row. So it is named what was changed, taken out or put in behind the triggers' back.
    Whoever kept a head gives it by --head: a trail that was cut, or written anew with the service's own key, does not
    go on from it.

    What came out is an entry of the trail itself. Exit code 7 where something is wrong.

    Example: fieldward audit verify --head kept.txt --rate 2000
    """
    kept = [one for path in head or [] for one in _kept(path)]
    settings = load_settings()
    try:
        witnesses = [VerifierKey.parse(one) for one in witness or []]
    except CheckpointError as error:
        refuse(f"--witness: {error}")
    witnesses += [VerifierKey.parse(key) for key, _ in settings.witnesses]

    async def work() -> tuple[TrailVerification, Pace]:
        with reach(settings, may_join=True) as reached:
            async with services(settings, reached.service) as built:
                only = await trail_named(built, organization) if organization is not None else None
                with showing_progress(as_json) as told:
                    pace = Pace(rate, progress=told)
                    found = await verify_trail(
                        built.sealer, built.keystore, operator(), pace, only=only, kept=kept, witnesses=witnesses
                    )
                return found, pace

    found, pace = run(work())
    _show(found, pace, as_json)
    if not found.is_right:
        raise typer.Exit(NOT_RIGHT)


def _kept(path: Path) -> list[KeptHead]:
    if path.stat().st_size > MOST_HEAD_BYTES:
        refuse(f"{path}: expected at most {MOST_HEAD_BYTES} bytes of heads")
    try:
        return parse_kept(path.read_text(), source=path.name)
    except (CheckpointError, UnicodeDecodeError) as error:
        refuse(f"{path}: {error}" if isinstance(error, CheckpointError) else f"{path}: expected text")


def _show(found: TrailVerification, pace: Pace, as_json: bool) -> None:
    counts = {
        name: pace.done.get(step, 0) for name, step in (("entries", SEALED), ("changes", CHANGES), ("rows", ROWS))
    }
    per_s = round(counts["entries"] / pace.elapsed_s)
    if as_json:
        shown: dict[str, Any] = {
            "verified": found.is_right,
            **counts,
            "entries_per_s": per_s,
            "sizes": {str(organization_id): size for organization_id, size in found.sizes.items()},
            "slugs": {str(organization_id): slug for organization_id, slug in found.slugs.items()},
            "findings": [asdict(one) for one in found.findings],
            "more": found.more,
        }
        print(json.dumps(shown, default=str))
        return
    names = {SYSTEM_ID: "the service", HEADS_ID: "the tree of heads", **found.slugs}
    for organization_id, size in found.sizes.items():
        print(f"{names.get(organization_id, organization_id)}: {size:,} sealed entries")
    for one in found.findings:
        print(f"{names.get(one.organization_id, one.organization_id)}: {one}")
    if found.more:
        print(f"and {found.more:,} more")
    told = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    print(f"{told} in {pace.elapsed_s:.1f} s ({per_s:,} entries/s)")
    print("verified" if found.is_right else "NOT verified")
