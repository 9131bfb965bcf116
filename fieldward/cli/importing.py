"""`import`: data from elsewhere."""

import json
import zipfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from rich.console import Console
from rich.progress import Progress

from auth.errors import NotFoundError
from auth.principal import Viewer
from fieldward.cli.environment import load_settings, operator, reach, refuse, run, services
from fieldward.cli.progress import showing_progress
from models.inventory import entity_of
from models.listing import Condition, Listing, Operator, fetch_listing
from models.order import Order
from models.project import Project
from models.reading import OneStatement
from models.transaction import Tenant
from resolvers.account import member_viewer
from resolvers.archive_import import ArchiveImport, import_archive
from resolvers.erasure import organization_named
from resolvers.record_import import ImportReport, import_results
from resolvers.trail import Actor

app = typer.Typer(help="Data from elsewhere.", no_args_is_help=True)

SOME_REJECTED = 3


@app.callback()
def _import() -> None:
    """Data from elsewhere."""


@app.command("wqx-csv")
def wqx_csv(
    file: Annotated[
        Path,
        typer.Argument(help="A result file of the US Water Quality Portal.", exists=True, dir_okay=False),
    ],
    organization: Annotated[str, typer.Option(help="The organization's slug.")],
    project: Annotated[str, typer.Option(help="The project's code.")],
    acting: Annotated[str, typer.Option("--as", help="The address of the member in whose name it is imported.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Import results of the Water Quality Portal. Running it twice changes nothing.

    Exit code 3 where some rows were rejected; each is reported with its line, column and reason.

    Example: fieldward import wqx-csv results.csv --organization acme --project WELLS --as ada@acme.example
    """

    async def work() -> ImportReport:
        settings = load_settings()
        with reach(settings) as reached:
            async with services(settings, reached.service):
                viewer = await member_viewer(organization, email=acting)
                project_id = await project_named(viewer, project)
                actor = Actor(viewer.organization_id, operator().origin, viewer)
                with (
                    Progress(console=Console(stderr=True), transient=True, disable=as_json) as bar,
                    file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream,
                ):
                    task = bar.add_task("Importing records", total=None)
                    return await import_results(
                        actor,
                        viewer,
                        stream,
                        project_id=project_id,
                        progress=lambda done, total: bar.update(task, completed=done, total=total),
                    )

    report = run(work())
    if as_json:
        print(json.dumps(asdict(report)))
    else:
        print(describe(report))
    if report.rejections:
        raise typer.Exit(SOME_REJECTED)


@app.command("archive")
def archive(
    file: Annotated[Path, typer.Argument(help="An archive of an organization.", exists=True, dir_okay=False)],
    organization: Annotated[str, typer.Option(help="The slug of the empty organization that it is put into.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Put an archive into an empty organization. Running it twice changes nothing.

    People whom it names become members; who has no account here gets one without a password, and asks for one by mail.

    Example: fieldward import archive acme.zip --organization acme
    """

    async def work() -> ArchiveImport:
        settings = load_settings()
        with reach(settings) as reached:
            async with services(settings, reached.service) as built:
                organization_id = await organization_named(built, organization)
                actor = replace(operator(), organization_id=organization_id)
                with showing_progress(as_json) as told, zipfile.ZipFile(file) as held:
                    return await import_archive(actor, held, progress=told)

    try:
        report = run(work())
    except zipfile.BadZipFile:
        refuse(f"{file} is no archive", code=1)
    if as_json:
        print(json.dumps(asdict(report)))
        return
    for table, rows in report.put_in.items():
        print(f"{table}: {rows:,} rows put in, {report.known[table]:,} known")
    for table, why in report.not_put_in.items():
        print(f"{table}: not put in. {why}")


async def project_named(viewer: Viewer, code: str) -> UUID:
    """Return the id of the project of that code, if the viewer sees it. Raises `NotFoundError` otherwise."""
    listing = Listing(
        entity=entity_of(Project),
        columns=("code",),
        order=Order("code"),
        limit=1,
        conditions=[Condition("code", Operator.EQUALS, code)],
    )
    async with OneStatement(Tenant(organization_id=viewer.organization_id)) as connection:
        found = await fetch_listing(connection, viewer, listing)
    if not found:
        raise NotFoundError(f"There is no project {code!r}.")
    project_id: UUID = found[0]["id"]
    return project_id


def describe(report: ImportReport) -> str:
    """Say in lines what became of a file."""
    lines = [
        f"{report.rows} rows: {report.records_created} records and {report.measurements_created} measurements created,"
        f" {report.records_known} records and {report.measurements_known} measurements known,"
        f" {len(report.rejections)} rows rejected, {report.blank} blank."
    ]
    lines += [f"line {one.line}, {one.column}: {one.reason}" for one in report.rejections]
    return "\n".join(lines)
