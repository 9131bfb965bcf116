"""Writing an archive into a file at once, for an operator on the command line, in the name of a member."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from typing import IO

from auth.action import Action
from auth.errors import UnauthenticatedError
from auth.permission import Permission
from auth.policy import require
from auth.scope import ORGANIZATION
from models.reading import Moment, Snapshot
from models.transaction import Tenant
from resolvers.archive import ArchiveSource
from resolvers.change import Change, Intent, commit_change
from resolvers.export_file import LEASE_S
from resolvers.export_rights import Requester, require_as_before
from resolvers.read_log import ReadLog
from resolvers.services import Services
from resolvers.trail import Actor

Progress = Callable[[str, int, int | None], None]


async def write_archive(
    services: Services,
    actor: Actor,
    file: IO[bytes],
    *,
    reason: str | None = None,
    progress: Progress = lambda *_: None,
) -> int:
    """Write everything of the organization that the actor's member may read, and return how many rows that were.

    That it is written stands in the trail before, and so does each value that is opened.

    Raises:
        ForbiddenError: the member may not take everything, or may read less than when it began.
        UnauthenticatedError: the member can't get in any more.
        UnavailableError: a database, the keystore or the key provider is away.
    """
    viewer = actor.viewer
    if viewer is None or viewer.membership_id is None:
        raise UnauthenticatedError("An archive is written in the name of a member.")
    source = ArchiveSource(started_at=await _noted(actor, reason))
    requester = Requester(viewer.organization_id, viewer.membership_id, None, None, None, None)
    tenant = Tenant(organization_id=viewer.organization_id)
    is_begun = False
    with closing(source):
        async with Moment(longest_pause_s=LEASE_S) as moment:
            while True:
                log = ReadLog()
                async with Snapshot(tenant) as connection:
                    now = await requester.viewer(connection)
                require_as_before(viewer.access, now.access)
                reading = replace(now, access=viewer.access)
                async with Snapshot(tenant, at=moment) as connection:
                    if not is_begun:
                        found: bytes | None = await source.begin(connection, reading, log)
                    else:
                        found = await source.next(connection, reading, log)
                is_begun = True
                await log.write(actor, services.entries)
                if found is None:
                    break
                file.write(found)
                progress("rows", source.rows_done, source.rows_total)
        file.write(source.end())
    return source.rows_done


async def _noted(actor: Actor, reason: str | None) -> datetime:
    """Write into the trail that everything is about to be taken, and return the database's time of it."""

    async def work(change: Change) -> datetime:
        require(change.viewer, Permission.EXPORT_ARCHIVE, ORGANIZATION)
        return change.at

    intent = Intent(
        Action.EXPORT_ARCHIVE, actor, reason=reason, entity="organization", subjects=[actor.organization_id]
    )
    return await commit_change(intent, work)
