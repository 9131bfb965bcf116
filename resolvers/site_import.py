"""Importing the sites of a project from GeoJSON.

A site is known by its code: one that the project has is left as it is, so that a file imported twice changes nothing.
Sites go in batches, each one audited change. A dry run says the same of each feature and writes nothing.
"""

from bisect import bisect_left
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final
from uuid import UUID

import asyncpg
from tortoise.exceptions import IntegrityError

from auth.action import Action
from auth.errors import NotFoundError
from auth.permission import Permission
from auth.policy import require
from auth.principal import Viewer
from auth.scope import project_scope
from models.data_import import RowFate
from models.errors import ConflictError
from models.inventory import entity_of
from models.listing import fetch_by_id
from models.project import Project
from models.reading import Snapshot
from models.site import Site
from models.statement import Statement
from models.transaction import Tenant, fetch
from resolvers.change import Change, Intent, commit_change
from resolvers.creating import constraint_of
from resolvers.locking import Wanted, hold_visible
from resolvers.project import require_active
from resolvers.record import PROJECT_COLUMNS
from resolvers.record_import import Fate, Outcome
from resolvers.site import NewSite, site_values
from resolvers.site_geojson import ReportedSite, SiteFile, SiteMapping, read_sites
from resolvers.trail import Actor
from resolvers.wqx import Rejection
from resolvers.wqx_value import stable_id
from resolvers.writing import require_guards

BATCH: Final = 500
"""Sites of one change. Its audit entry holds them all, and its transaction stays short."""

AT: Final = ("project",)
_NO_TIME: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""A site's id is of no moment: it is made of the project and the code alone."""
_TAKEN: Final = "has an id that something else of the organization has"


@dataclass(frozen=True, slots=True)
class SiteBatch:
    """`BATCH` features of a file, by the order of their numbers, or what is left of them at its end."""

    number: int
    sites: Sequence[ReportedSite]
    rejections: Sequence[Rejection]


@dataclass(slots=True)
class SiteImportReport:
    """What became of a file, or would. Every feature is in exactly one of created, known and rejections.

    fates: by the features' numbers, from 1.
    """

    features: int = 0
    sites_created: int = 0
    sites_known: int = 0
    rejections: list[Rejection] = field(default_factory=list)
    fates: dict[int, RowFate] = field(default_factory=dict)


async def import_sites(
    actor: Actor,
    viewer: Viewer,
    stream: BinaryIO,
    *,
    project_id: UUID,
    mapping: SiteMapping | None = None,
    dry_run: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> SiteImportReport:
    """Import the sites of a file into a project, as the viewer, and return what became of each feature.

    dry_run: say what would become of it, and write nothing.
    progress: told how many sites of how many are done.

    Raises:
        InvalidInputError: the file is no collection of features.
        NotFoundError, ForbiddenError: the viewer sees no such project, or has no `site:create` there.
        ConflictError: the project is archived, or somebody made one of the sites meanwhile.
    """
    file = read_sites(stream, mapping)
    report = SiteImportReport(features=file.features)
    done = 0
    for batch in site_batches(file):
        if dry_run:
            async with Snapshot(Tenant(organization_id=viewer.organization_id, user_id=viewer.user_id)) as connection:
                outcome = await judge_sites(connection, viewer, project_id, batch)
        else:
            outcome = await commit_sites(actor, project_id, batch)
        report.fates.update((one.line, one.fate) for one in outcome.fates)
        report.rejections += outcome.rejections
        report.sites_known += outcome.counted[RowFate.KNOWN]
        report.sites_created += outcome.counted[RowFate.CREATED]
        done += len(batch.sites)
        progress(done, len(file.sites))
    return report


def site_batches(file: SiteFile, *, from_batch: int = 0) -> Iterator[SiteBatch]:
    """Yield the features of a file, batch by batch: the same ones whenever it is read, so that an import goes on."""
    for number in range(from_batch, -(-file.features // BATCH)):
        first, end = number * BATCH + 1, (number + 1) * BATCH + 1
        ends = [bisect_left(file.sites, one, key=lambda site: site.number) for one in (first, end)]
        rejected = [bisect_left(file.rejections, one, key=lambda rejection: rejection.line) for one in (first, end)]
        yield SiteBatch(number, file.sites[slice(*ends)], file.rejections[slice(*rejected)])


async def commit_sites(
    actor: Actor,
    project_id: UUID,
    batch: SiteBatch,
    *,
    stands: Callable[[Change], Awaitable[Change]] | None = None,
    beside: Callable[[Change, Outcome], Awaitable[None]] | None = None,
) -> Outcome:
    """Write those sites of a batch that the project does not have, in one change, and return what became of each.

    stands: asks, in the transaction, who acts now. beside: writes, in the same transaction, what goes with it.

    Raises:
        NotFoundError, ForbiddenError, ConflictError: as `import_sites`.
    """
    ids = _ids(actor.organization_id, project_id, batch.sites)
    intent = Intent(
        action=Action.SITE_IMPORT,
        actor=actor,
        reason=None,
        entity=entity_of(Site).name,
        subjects=list(ids.values()),
    )

    async def write(change: Change) -> Outcome:
        if stands is not None:
            change = await stands(change)
        project = Wanted(Project, project_id, PROJECT_COLUMNS, at=AT)
        found = (await hold_visible(change, project)).found(project)
        require_may_import_sites(change.viewer, project_id, found["status"])
        statement = Statement()
        rows = await fetch(change.connection, _known_text(statement, project_id, ids), *statement.arguments)
        known, taken = _known(rows, project_id, ids)
        is_sensitive = found["locations_are_sensitive"]
        new = [
            site_values(change, ids[one.new.code], project_id, one.new, is_sensitive=is_sensitive)
            for one in batch.sites
            if one.new.code not in known and one.new.code not in taken
        ]
        await change.insert(Site, new)
        outcome = _outcome(batch, known, taken)
        if beside is not None:
            await beside(change, outcome)
        return outcome

    try:
        return await commit_change(intent, write)
    except (IntegrityError, asyncpg.UniqueViolationError) as error:
        if _broken(error) == "site_code_key":
            raise ConflictError("Somebody made one of the sites meanwhile. Import the file again.", field=AT) from error
        raise


async def judge_sites(connection: asyncpg.Connection, viewer: Viewer, project_id: UUID, batch: SiteBatch) -> Outcome:
    """Return what would become of a batch, by what is stored now. Nothing is written.

    Raises:
        NotFoundError, ForbiddenError, ConflictError: as the write would.
    """
    found = await fetch_by_id(connection, viewer, entity_of(Project), ("status",), [project_id])
    if project_id not in found:
        raise NotFoundError("There is nothing with this id.", field=AT)
    require_may_import_sites(viewer, project_id, found[project_id]["status"])
    statement = Statement()
    ids = _ids(viewer.organization_id, project_id, batch.sites)
    text = _known_text(statement, project_id, ids)
    return _outcome(batch, *_known(await connection.fetch(text, *statement.arguments), project_id, ids))


def require_may_import_sites(viewer: Viewer, project_id: UUID, status: str) -> None:
    """Raise unless the viewer may make sites in a project of that status, with all that a file says of them.

    Raises:
        ForbiddenError: they lack `site:create`, or may not read a column that a file can fill.
        ConflictError: the project is archived.
    """
    scope = project_scope(project_id)
    require(viewer, Permission.SITE_CREATE, scope)
    require_guards(viewer, entity_of(Site), scope, NewSite.__slots__, at=AT)
    require_active(status, at=AT)


def _outcome(batch: SiteBatch, known: Collection[str], taken: Collection[str]) -> Outcome:
    rejections = [
        *batch.rejections,
        *(Rejection(one.number, "", _TAKEN, one.new.code) for one in batch.sites if one.new.code in taken),
    ]
    fates = [Fate(one.line, RowFate.REJECTED, one.column, one.reason) for one in rejections]
    fates += [
        Fate(one.number, RowFate.KNOWN if one.new.code in known else RowFate.CREATED)
        for one in batch.sites
        if one.new.code not in taken
    ]
    return Outcome(sorted(fates, key=lambda fate: fate.line), sorted(rejections, key=lambda one: one.line))


def _ids(organization_id: UUID, project_id: UUID, batch: Sequence[ReportedSite]) -> dict[str, UUID]:
    """Return the id of each site by its code: the same whenever it is imported."""
    parts = (b"site", organization_id.bytes, project_id.bytes)
    return {one.new.code: stable_id(_NO_TIME, (*parts, one.new.code)) for one in batch}


def _known_text(statement: Statement, project_id: UUID, ids: Mapping[str, UUID]) -> str:
    """Return the statement of the sites that have one of the codes, or were imported under it and have another now."""
    codes = f"code = any({statement.argument(list(ids))}::text[])"
    return (
        f'select id, code, project_id from "{entity_of(Site).name}"'
        f" where (project_id = {statement.argument(project_id)} and {codes})"
        f" or id = any({statement.argument(list(ids.values()))}::uuid[])"
    )


def _known(rows: Iterable[Any], project_id: UUID, ids: Mapping[str, UUID]) -> tuple[set[str], set[str]]:
    """Return the codes of which there are sites, and those of which the id is one of another project's."""
    rows = list(rows)
    found = {value for row in rows if row["project_id"] == project_id for value in (row["id"], row["code"])}
    elsewhere = {row["id"] for row in rows if row["project_id"] != project_id}
    known = {code for code, site_id in ids.items() if code in found or site_id in found}
    return known, {code for code, site_id in ids.items() if site_id in elsewhere} - known


def _broken(error: Exception) -> str | None:
    if isinstance(error, IntegrityError):
        return constraint_of(error)
    return getattr(error, "constraint_name", None)
