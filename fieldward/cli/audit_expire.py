"""`audit expire`: letting go of entries whose period is over, now and not when the server comes to it."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import typer

from fieldward.cli.environment import load_settings, operator, reach, run, services
from resolvers.services import Services
from resolvers.trail_expiry import TrailExpiry, expirable

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say how many entries may leave, and let none go.")]

_Left = Mapping[str, Mapping[str, int]]


def expire(dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Let go of entries of the audit trail whose period is over, in every organization that set one.

    A server does the same by itself, once an hour. What leaves is replaced by its leaf hash; which entries that were
    stays in the trail. Printed is how many left, by organization and kind.

    Example: fieldward audit expire --dry-run --json
    """

    async def work() -> _Left:
        settings = load_settings()
        with reach(settings, may_join=True) as reached:
            async with services(settings, reached.service) as built:
                return await expire_everywhere(built, dry_run=dry_run)

    left = run(work())
    if as_json:
        print(json.dumps({"dry_run": dry_run, "organizations": left}))
        return
    for organization_id, kinds in left.items():
        for kind, entries in kinds.items():
            print(f"{organization_id} {kind:<7} {entries}")
    if not left:
        print("Nothing may leave.")


async def expire_everywhere(built: Services, *, dry_run: bool) -> _Left:
    """Let go of all that may leave, or only count it; return how many entries, by organization and kind."""
    left: dict[str, Counter[str]] = {}
    expiry = TrailExpiry()
    for organization_id in await built.keystore.organizations():
        counts = left.setdefault(str(organization_id), Counter())
        if dry_run:
            counts.update({one.kind: one.entries for one in await expirable(organization_id)})
            continue
        while done := await expiry.step(replace(operator(), organization_id=organization_id)):
            counts.update({one.kind: one.entries for one in done})
    return {organization_id: dict(counts) for organization_id, counts in left.items() if counts}
