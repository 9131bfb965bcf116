"""Placing and lifting legal holds."""

from typing import Any
from uuid import UUID

from auth.permission import Permission
from auth.policy import require
from auth.scope import ORGANIZATION
from models.base import TenantModel, new_id
from models.erasure_request import ErasureKind, ErasureRequest, ErasureStatus
from models.errors import ConflictError, InvalidInputError
from models.inventory import entity_of
from models.legal_hold import HoldOn, LegalHold, lock_for_placing
from models.membership import Membership
from models.organization import Organization
from models.project import Project
from models.record import Record
from models.site import Site
from resolvers.change import Change
from resolvers.checking import require_reason
from resolvers.erasure_hold import holds_in
from resolvers.erasure_owner import indexes_in
from resolvers.erasure_request import names_of
from resolvers.locking import Wanted, hold_visible, lock_visible, require_version
from resolvers.writing import require_writable

AT_SUBJECT = ("input", "subjectId")

SUBJECTS: dict[str, tuple[HoldOn, type[Any], tuple[str, ...]]] = {
    "Organization": (HoldOn.ORGANIZATION, Organization, ()),
    "Project": (HoldOn.PROJECT, Project, ()),
    "Site": (HoldOn.SITE, Site, ("project_id", "code")),
    "Record": (HoldOn.RECORD, Record, ("project_id", "site_code")),
    "User": (HoldOn.PERSON, Membership, ()),
}
"""What a hold can be placed on, by the names of their types in ids, with the columns that say where it lies."""


async def place_hold(change: Change, *, named: str, subject_id: UUID) -> UUID:
    """Have what lies in something deleted by nobody until the hold is lifted, and return the hold's id.

    It counts from when this is committed: whoever is deleting meanwhile is waited for. The change's reason says why.

    Raises:
        ForbiddenError: without `hold:place`.
        NotFoundError: there is no such thing, or none that this viewer sees.
        InvalidInputError: no reason was given, or holds are not placed on such things.
        ConflictError: what it would keep is being erased.
    """
    require(change.viewer, Permission.HOLD_PLACE, ORGANIZATION)
    reason = require_reason(change.intent.reason)
    if named not in SUBJECTS:
        raise InvalidInputError(f"Expected the id of one of {', '.join(SUBJECTS)}.", field=AT_SUBJECT)
    kind, model, columns = SUBJECTS[named]
    require_writable(change, entity_of(LegalHold), ORGANIZATION, {"reason": reason}, at=("input",), is_new=True)
    await lock_for_placing(change.connection, change.organization_id)
    where = await _where(change, model, subject_id, columns)
    row_id = new_id()
    await change.insert(
        LegalHold,
        [
            {
                "id": row_id,
                "organization_id": change.organization_id,
                "created_at": change.at,
                "subject_kind": kind,
                "subject": subject_id,
                "project_id": where.get("project_id"),
                "site_code": where.get("code", where.get("site_code")),
                "reason": reason,
                "placed_by_id": change.viewer.membership_id,
            }
        ],
    )
    await _require_not_erasing(change, row_id)
    return row_id


async def lift_hold(change: Change, *, hold_id: UUID, expected_version: int) -> UUID:
    """End a hold, and return its id. What it kept is deleted from then on as if it had not been. The reason says why.

    Raises:
        NotFoundError, ForbiddenError: without `hold:lift`.
        InvalidInputError: no reason was given.
        ConflictError: it is at another version, or was lifted already.
    """
    hold = await lock_visible(change, LegalHold, hold_id)
    require(change.viewer, Permission.HOLD_LIFT, ORGANIZATION)
    reason = require_reason(change.intent.reason)
    require_version(hold.version, expected_version)
    if hold.lifted_at is not None:
        raise ConflictError("The hold was lifted already.", field=("input", "id"))
    hold.lifted_at = change.at
    hold.lifted_by_id = change.viewer.membership_id
    hold.lift_reason = reason
    hold.version += 1
    await hold.save(using_db=change.connection, update_fields=["lifted_at", "lifted_by_id", "lift_reason", "version"])
    return hold_id


async def _require_not_erasing(change: Change, hold_id: UUID) -> None:
    """Raise `ConflictError` where a hold that was just placed would keep what is being erased, and so could not.

    One that begins after this waits for the hold, and sees it.
    """
    begun = ErasureRequest.filter(organization_id=change.organization_id, status=ErasureStatus.EXECUTING)
    for request in await begun.using_db(change.connection):
        names, addresses = names_of(request), list[bytes]()
        if request.user_id is not None:
            known, addresses = await indexes_in(change.organization_id, request.user_id)
            names += known
        held = await holds_in(
            change.connection,
            change.organization_id,
            person_id=request.user_id,
            names=names,
            addresses=addresses,
            is_whole=request.kind is ErasureKind.ORGANIZATION,
        )
        if hold_id in held:
            raise ConflictError("What this would keep is being erased.", field=AT_SUBJECT)


async def _where(
    change: Change, model: type[TenantModel], subject_id: UUID, columns: tuple[str, ...]
) -> dict[str, Any]:
    wanted = Wanted(model, subject_id, columns, AT_SUBJECT)
    return dict((await hold_visible(change, wanted)).found(wanted))
