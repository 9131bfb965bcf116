"""`import`: data from elsewhere."""

import csv
import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
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
from models.condition import Condition, Operator
from models.errors import InvalidInputError
from models.inventory import entity_of
from models.listing import Listing, fetch_listing
from models.order import Order
from models.project import Project
from models.reading import OneStatement
from models.transaction import Tenant
from resolvers.account import member_viewer
from resolvers.archive_import import ArchiveImport, import_archive
from resolvers.csv_mapping import CsvLayout, mapping_from
from resolvers.erasure import organization_named
from resolvers.export_csv import guarded
from resolvers.record_import import Fate, ImportReport, import_results
from resolvers.site_geojson import SiteMapping
from resolvers.site_import import SiteImportReport, import_sites
from resolvers.trail import Actor
from resolvers.wqx_layout import LEGACY, WQX3, Layout
from resolvers.wqx_table import as_text

app = typer.Typer(help="Data from elsewhere.", no_args_is_help=True)

SOME_REJECTED = 3


class WqxVersion(StrEnum):
    """The layouts of the portal's results."""

    LEGACY = "legacy"
    WQX3 = "wqx3"


@app.callback()
def _import() -> None:
    """Data from elsewhere."""


_FILE = typer.Argument(help="The file.", exists=True, dir_okay=False)
_ORGANIZATION = typer.Option("--organization", help="The organization's slug.")
_PROJECT = typer.Option("--project", help="The project's code.")
_AS = typer.Option("--as", help="The address of the member in whose name it is imported.")
_DRY_RUN = typer.Option("--dry-run", help="Judge each row as the import would, and write nothing.")
_FATES = typer.Option("--fates", help="Write what became of each row into this file, as CSV.", dir_okay=False)
_JSON = typer.Option("--json", help="Print the report as JSON.")


@app.command("wqx-csv")
def wqx_csv(
    file: Annotated[Path, _FILE],
    organization: Annotated[str, _ORGANIZATION],
    project: Annotated[str, _PROJECT],
    acting: Annotated[str, _AS],
    layout: Annotated[WqxVersion, typer.Option(help="The portal's layout: legacy, or wqx3.")] = WqxVersion.LEGACY,
    dry_run: Annotated[bool, _DRY_RUN] = False,
    fates: Annotated[Path | None, _FATES] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Import results of the Water Quality Portal. Running it twice changes nothing.

    Exit code 3 where some rows were rejected; each is reported with its line, column and reason.

    Example: fieldward import wqx-csv results.csv --organization acme --project WELLS --as ada@acme.example
    """
    how = How(WQX3 if layout is WqxVersion.WQX3 else LEGACY, dry_run, fates, as_json)
    _import_file(file, organization, project, acting, how)


@app.command("csv")
def table_csv(
    file: Annotated[Path, _FILE],
    organization: Annotated[str, _ORGANIZATION],
    project: Annotated[str, _PROJECT],
    acting: Annotated[str, _AS],
    mapping: Annotated[
        Path, typer.Option(help="A mapping in JSON that says which column is what.", exists=True, dir_okay=False)
    ],
    dry_run: Annotated[bool, _DRY_RUN] = False,
    fates: Annotated[Path | None, _FATES] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Import a table of any layout by a mapping. Running it twice changes nothing.

    Exit code 3 where some rows were rejected; each is reported with its line, column and reason.

    Example: fieldward import csv sheet.csv --mapping sheet.json --organization acme --project WELLS --as
    ada@acme.example --dry-run
    """
    try:
        layout = CsvLayout(mapping_from(mapping.read_bytes()))
    except InvalidInputError as error:
        refuse(f"{'.'.join(map(str, error.field))}: {error.message}")
    _import_file(file, organization, project, acting, How(layout, dry_run, fates, as_json))


@dataclass(frozen=True, slots=True)
class How:
    """How a file is read, and what is said of it. fates: the file that what became of each row is written into."""

    layout: Layout
    is_dry_run: bool
    fates: Path | None
    as_json: bool


def _import_file(file: Path, organization: str, project: str, acting: str, how: How) -> None:
    async def work() -> ImportReport:
        settings = load_settings()
        with reach(settings) as reached:
            async with services(settings, reached.service):
                viewer = await member_viewer(organization, email=acting)
                project_id = await project_named(viewer, project)
                actor = Actor(viewer.organization_id, operator().origin, viewer)
                with (
                    Progress(console=Console(stderr=True), transient=True, disable=how.as_json) as bar,
                    as_text(file.open("rb"), how.layout.encoding) as stream,
                    _telling(how.fates) as tell,
                ):
                    task = bar.add_task("Judging rows" if how.is_dry_run else "Importing rows", total=None)
                    return await import_results(
                        actor,
                        viewer,
                        stream,
                        project_id=project_id,
                        layout=how.layout,
                        is_dry_run=how.is_dry_run,
                        progress=lambda done, total: bar.update(task, completed=done, total=total),
                        tell=tell,
                    )

    report = run(work())
    if how.as_json:
        print(json.dumps({**asdict(report), "dry_run": how.is_dry_run}))
    else:
        print(describe(report, is_dry_run=how.is_dry_run))
    if report.rejected:
        raise typer.Exit(SOME_REJECTED)


@app.command("sites")
def sites(
    file: Annotated[
        Path, typer.Argument(help="A GeoJSON FeatureCollection of points (RFC 7946).", exists=True, dir_okay=False)
    ],
    organization: Annotated[str, typer.Option(help="The organization's slug.")],
    project: Annotated[str, typer.Option(help="The project's code.")],
    acting: Annotated[str, typer.Option("--as", help="The address of the member in whose name it is imported.")],
    code: Annotated[str, typer.Option(help="The property that holds a site's code.")] = "code",
    name: Annotated[str, typer.Option(help="The property that holds its name.")] = "name",
    kind: Annotated[str, typer.Option(help="The property that says what it is.")] = "kind",
    description: Annotated[str, typer.Option(help="The property that describes it.")] = "description",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would become of it, and write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Import the sites of a project. Running it twice changes nothing; a site that is there keeps what it has.

    Exit code 3 where some features were rejected; each is reported with its number, member and reason.

    Example: fieldward import sites wells.geojson --organization acme --project WELLS --as ada@acme.example
    """
    mapping = SiteMapping(code=code, name=name, kind=kind, description=description)

    async def work() -> SiteImportReport:
        settings = load_settings()
        with reach(settings) as reached:
            async with services(settings, reached.service):
                viewer = await member_viewer(organization, email=acting)
                project_id = await project_named(viewer, project)
                actor = Actor(viewer.organization_id, operator().origin, viewer)
                with (
                    Progress(console=Console(stderr=True), transient=True, disable=as_json) as bar,
                    file.open("rb") as stream,
                ):
                    task = bar.add_task("Importing sites", total=None)
                    return await import_sites(
                        actor,
                        viewer,
                        stream,
                        project_id=project_id,
                        mapping=mapping,
                        dry_run=dry_run,
                        progress=lambda done, total: bar.update(task, completed=done, total=total),
                    )

    report = run(work())
    if as_json:
        print(json.dumps({**asdict(report), "dry_run": dry_run}))
    else:
        print(describe_sites(report, dry_run=dry_run))
    if report.rejections:
        raise typer.Exit(SOME_REJECTED)


@contextmanager
def _telling(path: Path | None) -> Iterator[Callable[[Sequence[Fate]], None]]:
    """Yield what writes what became of rows into a file, as CSV."""
    if path is None:
        yield lambda _fates: None
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("line", "fate", "column", "reason"))
        # A column has the name that the file gives it, and people open this in a spreadsheet.
        yield lambda fates: writer.writerows(
            (one.line, one.fate, guarded(one.column), guarded(one.reason)) for one in fates
        )


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


def describe(report: ImportReport, *, is_dry_run: bool) -> str:
    """Say in lines what became of a file, or would."""
    lines = [
        f"{report.rows} rows: {report.records_created} records and {report.measurements_created} measurements"
        f" {'would be created' if is_dry_run else 'created'},"
        f" {report.records_known} records and {report.measurements_known} measurements known,"
        f" {report.rejected} rows rejected, {report.blank} blank."
    ]
    lines += [f"line {one.line}, {one.column}: {one.reason}" for one in report.rejections]
    if (left := report.rejected - len(report.rejections)) > 0:
        lines.append(f"and {left} more rows rejected: --fates writes all of them.")
    return "\n".join(lines)


def describe_sites(report: SiteImportReport, *, dry_run: bool) -> str:
    """Say in lines what became of a file of sites, or would."""
    lines = [
        f"{report.features} features: {report.sites_created} sites {'would be created' if dry_run else 'created'},"
        f" {report.sites_known} known, {len(report.rejections)} rejected."
    ]
    lines += [f"feature {one.line}, {one.column}: {one.reason}" for one in report.rejections]
    return "\n".join(lines)
