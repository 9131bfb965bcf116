"""`retention`: how long what is kept, what would be deleted, and deleting it now."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Annotated, Any
from uuid import UUID

import typer

from fieldward.cli.environment import load_settings, operator, reach, run, services
from models.data_kind import DataKind
from models.reading import OneStatement
from models.transaction import Tenant
from resolvers.retention import ahead_of_run, how_long
from resolvers.retention_run import Done, RetentionRuns, run_to_its_end
from resolvers.services import Services

app = typer.Typer(help="How long data are kept, and deleting what is over.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be deleted, and delete nothing.")]

FAILED = 1

_LAST = """
    select distinct on (kind) kind, status, created_at, deleted, parts, held, named, error_code
      from retention_run where organization_id = $1 order by kind, created_at desc, id desc
"""


@app.command("status")
def status(as_json: AsJson = False) -> None:
    """Say how long what is kept, in every organization that set a period, and what the last run of each type did.

    Example: fieldward retention status
    """

    async def work() -> Mapping[str, Sequence[Mapping[str, Any]]]:
        settings = load_settings()
        with reach(settings, may_join=True) as reached:
            async with services(settings, reached.service) as built:
                found = {str(one): await _status(one) for one in await built.keystore.organizations()}
                return {organization: periods for organization, periods in found.items() if periods}

    found = run(work())
    if as_json:
        print(json.dumps({"organizations": found}))
        return
    for organization, periods in found.items():
        for one in periods:
            last = one["last_run"]
            did = "no run yet" if last is None else f"{last['status']} {last['began_at']}: deleted {last['deleted']}"
            print(f"{organization} {one['kind']:<14} {one['days']:>6} days  {did}")
    if not found:
        print("No period is set: everything is kept.")


@app.command("run")
def run_command(dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Delete what is over, in every organization that set a period, now and not when the day is over.

    A server does the same by itself, once a day. Each batch is a change in the audit trail. Printed is what was deleted
    by organization and type, and how much was over and kept: by a legal hold, or since something names it. Types whose
    period was decided less than a week ago are left out: it does not count yet. Exit code 1 where a run failed.

    Example: fieldward retention run --dry-run --json
    """

    async def work() -> Mapping[str, Sequence[Mapping[str, Any]]]:
        settings = load_settings()
        with reach(settings, may_join=True) as reached:
            async with services(settings, reached.service) as built:
                return await run_everywhere(built, dry_run=dry_run)

    found = run(work())
    if as_json:
        print(json.dumps({"dry_run": dry_run, "organizations": found}))
    else:
        verb = "would be deleted" if dry_run else "deleted"
        for organization, done in found.items():
            for one in done:
                kept = f"{one['held']} held, {one['named']} named"
                print(f"{organization} {one['kind']:<12} {one['deleted']} {verb}, {one['parts']} parts; {kept}")
        if not found:
            print("No period counts now: none is set, or none was a week ago.")
    if any(one["error_code"] for done in found.values() for one in done):
        raise typer.Exit(FAILED)


async def run_everywhere(built: Services, *, dry_run: bool) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """Delete all that is over, or only count it; return what that came to, by organization."""
    found: dict[str, Sequence[Mapping[str, Any]]] = {}
    for organization_id in await built.keystore.organizations():
        if dry_run:
            looked = [await ahead_of_run(organization_id, kind) for kind in DataKind]
            done = [Done(one.kind, one.deleted, one.parts, held=one.held, named=one.named) for one in looked if one]
        else:
            actor = replace(operator(), organization_id=organization_id)
            done = list(await run_to_its_end(RetentionRuns(), actor, asked=True))
        if done:
            found[str(organization_id)] = [asdict(one) for one in done]
    return found


async def _status(organization_id: UUID) -> Sequence[Mapping[str, Any]]:
    async with OneStatement(Tenant(organization_id=organization_id)) as connection:
        last = {row["kind"]: row for row in await connection.fetch(_LAST, organization_id)}
    return [
        {
            "kind": one.data or f"TRAIL_{one.trail}",
            "days": one.days,
            "counts_since": one.counts_since.isoformat() if one.counts_since else None,
            "last_run": _told(last.get(one.data) if one.data is not None else None),
        }
        for one in await how_long(organization_id)
        if one.days is not None
    ]


def _told(row: Any) -> Mapping[str, Any] | None:
    if row is None:
        return None
    told = {name: row[name] for name in ("status", "deleted", "parts", "held", "named", "error_code")}
    return {**told, "began_at": row["created_at"].isoformat(timespec="seconds")}
