"""Importing the sites of a project from GeoJSON.

A site is known by its code: one that the project has is left as it is, so that a file imported twice changes nothing.
Sites go in batches, each one audited change. A dry run says the same of each feature and writes nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice
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
from resolvers.site import NewSite, site_values
from resolvers.site_geojson import ReportedSite, SiteMapping, read_sites
from resolvers.trail import Actor
from resolvers.wqx import Rejection
from resolvers.wqx_value import stable_id
from resolvers.writing import require_guards

BATCH: Final = 500
"""Sites of one change. Its audit entry holds them all, and its transaction stays short."""

AT: Final = ("project",)
_NO_TIME: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""A site's id is of no moment: it is made of the project and the code alone."""


class Fate(StrEnum):
    """What became of a feature, or would. KNOWN: the project has that site, and it keeps what it has."""

    CREATED = "CREATED"
    KNOWN = "KNOWN"
    REJECTED = "REJECTED"


@dataclass(slots=True)
class SiteImportReport:
    """What became of a file, or would. Every feature is in exactly one of created, known and rejections.

    fates: by the features' numbers, from 1.
    """

    features: int = 0
    sites_created: int = 0
    sites_known: int = 0
    rejections: list[Rejection] = field(default_factory=list)
    fates: dict[int, Fate] = field(default_factory=dict)


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
    report = SiteImportReport(features=file.features, rejections=list(file.rejections))
    report.fates.update((one.line, Fate.REJECTED) for one in file.rejections)
    done = 0
    for batch in _batches(file.sites):
        if dry_run:
            known = await _look(viewer, project_id, batch)
        else:
            known = await _import(actor, project_id, batch)
        for one in batch:
            report.fates[one.number] = Fate.KNOWN if one.new.code in known else Fate.CREATED
        report.sites_known += len(known)
        report.sites_created += len(batch) - len(known)
        done += len(batch)
        progress(done, len(file.sites))
    return report


async def _import(actor: Actor, project_id: UUID, batch: Sequence[ReportedSite]) -> set[str]:
    """Write the sites that the project does not have, and return the codes of those that it has."""
    ids = _ids(actor.organization_id, project_id, batch)
    intent = Intent(
        action=Action.SITE_IMPORT,
        actor=actor,
        reason=None,
        entity=entity_of(Site).name,
        subjects=list(ids.values()),
    )

    async def write(change: Change) -> set[str]:
        project = Wanted(Project, project_id, PROJECT_COLUMNS, at=AT)
        found = (await hold_visible(change, project)).found(project)
        scope = project_scope(project_id)
        require(change.viewer, Permission.SITE_CREATE, scope)
        require_guards(change, entity_of(Site), scope, NewSite.__slots__, at=AT)
        require_active(found["status"], at=AT)
        statement = Statement()
        rows = await fetch(change.connection, _known_text(statement, project_id, ids), *statement.arguments)
        known = _known(rows, ids)
        is_sensitive = found["locations_are_sensitive"]
        new = [
            site_values(change, ids[one.new.code], project_id, one.new, is_sensitive=is_sensitive)
            for one in batch
            if one.new.code not in known
        ]
        await change.insert(Site, new)
        return known

    try:
        return await commit_change(intent, write)
    except (IntegrityError, asyncpg.UniqueViolationError) as error:
        if _broken(error) == "site_code_key":
            raise ConflictError("Somebody made one of the sites meanwhile. Import the file again.", field=AT) from error
        raise


async def _look(viewer: Viewer, project_id: UUID, batch: Sequence[ReportedSite]) -> set[str]:
    """Return the codes of those that the project has, where the viewer might import the others."""
    tenant = Tenant(organization_id=viewer.organization_id, user_id=viewer.user_id)
    async with Snapshot(tenant) as connection:
        found = await fetch_by_id(connection, viewer, entity_of(Project), ("status",), [project_id])
        if project_id not in found:
            raise NotFoundError("There is nothing with this id.", field=AT)
        require(viewer, Permission.SITE_CREATE, project_scope(project_id))
        require_active(found[project_id]["status"], at=AT)
        statement = Statement()
        ids = _ids(viewer.organization_id, project_id, batch)
        text = _known_text(statement, project_id, ids)
        return _known(await connection.fetch(text, *statement.arguments), ids)


def _ids(organization_id: UUID, project_id: UUID, batch: Sequence[ReportedSite]) -> dict[str, UUID]:
    """Return the id of each site by its code: the same whenever it is imported."""
    parts = (b"site", organization_id.bytes, project_id.bytes)
    return {one.new.code: stable_id(_NO_TIME, (*parts, one.new.code)) for one in batch}


def _known_text(statement: Statement, project_id: UUID, ids: Mapping[str, UUID]) -> str:
    """Return the statement of the sites that have one of the codes, or were imported under it and have another now."""
    return (
        f'select id, code from "{entity_of(Site).name}" where project_id = {statement.argument(project_id)}'
        f" and (code = any({statement.argument(list(ids))}::text[])"
        f" or id = any({statement.argument(list(ids.values()))}::uuid[]))"
    )


def _known(rows: Iterable[Any], ids: Mapping[str, UUID]) -> set[str]:
    found = {value for row in rows for value in (row["id"], row["code"])}
    return {code for code, site_id in ids.items() if code in found or site_id in found}


def _broken(error: Exception) -> str | None:
    if isinstance(error, IntegrityError):
        return constraint_of(error)
    return getattr(error, "constraint_name", None)


def _batches(sites: Sequence[ReportedSite]) -> Iterator[list[ReportedSite]]:
    iterator = iter(sites)
    while batch := list(islice(iterator, BATCH)):
        yield batch
