"""The way of a record through review: submitted by who collected it, approved or rejected by somebody else."""

from uuid import UUID

from auth.errors import ForbiddenError
from auth.permission import Permission
from auth.policy import can, require
from models.errors import ConflictError
from models.inventory import entity_of
from models.record import Record, RecordStatus
from models.service_account import ServiceAccount
from models.statement import Statement
from models.transaction import fetch
from resolvers.change import Change
from resolvers.checking import require_reason
from resolvers.locking import lock_visible, require_on, require_version, scope_of_model
from resolvers.record import CONTRIBUTED, REVIEWED, is_own_record, note_contributor, require_active_project

_SUBMITTABLE = frozenset({RecordStatus.DRAFT, RecordStatus.REJECTED})


async def submit_record(change: Change, *, record_id: UUID, expected_version: int) -> UUID:
    """Hand a draft, or a rejected record, over for review and return its id.

    Raises:
        NotFoundError, ForbiddenError: without `record:submit`; somebody else's record without `record:update`.
        ConflictError: another version; an archived project; under review or approved.
    """
    record = await lock_visible(change, Record, record_id)
    require_on(change, Permission.RECORD_SUBMIT, record)
    viewer = change.viewer
    if not is_own_record(viewer, record) and not can(viewer, Permission.RECORD_UPDATE, scope_of_model(change, record)):
        raise ForbiddenError("Only your own records.", permission=Permission.RECORD_UPDATE)
    require_version(record.version, expected_version)
    await require_active_project(change, record)
    if record.status not in _SUBMITTABLE:
        raise ConflictError(f"The record is {record.status}.", field=("input", "id"))
    note_contributor(change, record)
    return await _move(change, record, RecordStatus.SUBMITTED, *CONTRIBUTED)


async def approve_record(change: Change, *, record_id: UUID, expected_version: int) -> UUID:
    """Approve a submitted record and return its id. The change's reason is optional.

    Raises:
        NotFoundError, ForbiddenError: without `record:review`; a record one, or a program of one's own, had a hand in.
        ConflictError: another version; an archived project; not under review.
    """
    record = await _load_for_review(change, record_id, expected_version)
    return await _review(change, record, RecordStatus.APPROVED, change.intent.reason)


async def reject_record(change: Change, *, record_id: UUID, expected_version: int) -> UUID:
    """Send a submitted record back and return its id. The change's reason says what is wrong.

    Raises:
        NotFoundError, ForbiddenError: without `record:review`; a record one, or a program of one's own, had a hand in.
        InvalidInputError: no reason was given.
        ConflictError: another version; an archived project; not under review.
    """
    record = await _load_for_review(change, record_id, expected_version)
    return await _review(change, record, RecordStatus.REJECTED, require_reason(change.intent.reason))


async def _load_for_review(change: Change, record_id: UUID, expected_version: int) -> Record:
    record = await lock_visible(change, Record, record_id)
    require(change.viewer, Permission.RECORD_REVIEW, scope_of_model(change, record))
    # Four eyes: whoever had a hand in a record is not the one who vouches for it.
    if await _had_a_hand(change, record):
        raise ForbiddenError("Nobody reviews what they had a hand in.", permission=Permission.RECORD_REVIEW)
    require_version(record.version, expected_version)
    await require_active_project(change, record)
    if record.status is not RecordStatus.SUBMITTED:
        raise ConflictError(f"The record is {record.status}, not SUBMITTED.", field=("input", "id"))
    return record


async def _had_a_hand(change: Change, record: Record) -> bool:
    """Return whether the viewer made, changed or submitted the record, or a program of theirs did."""
    hands = {record.created_by_id, *record.contributor_ids} - {None}
    if change.viewer.principal_id in hands:
        return True
    statement = Statement()
    programs = await fetch(
        change.connection,
        f'select 1 from "{entity_of(ServiceAccount).name}"'
        f" where organization_id = {statement.argument(change.organization_id)}"
        f" and created_by_id = {statement.argument(change.viewer.membership_id)}"
        f" and id = any({statement.argument(list(hands))}::uuid[]) limit 1",
        *statement.arguments,
    )
    return bool(programs)


async def _review(change: Change, record: Record, status: RecordStatus, reason: str | None) -> UUID:
    record.reviewed_by_id = change.viewer.membership_id
    record.reviewed_at = change.at
    record.review_reason = reason
    return await _move(change, record, status, *REVIEWED)


async def _move(change: Change, record: Record, status: RecordStatus, *columns: str) -> UUID:
    record.status = status
    record.version += 1
    await record.save(using_db=change.connection, update_fields=["status", "version", *columns])
    return record.id
