"""The way of a record through review: submitted by who collected it, approved or rejected by somebody else."""

from uuid import UUID

from auth.errors import ForbiddenError
from auth.permission import Permission
from auth.policy import can, require
from models.encryption.column import load_keys_for
from models.encryption.envelope import KeyPurpose
from models.encryption.keyring import active_keyring
from models.encryption.owner import organization_owner
from models.errors import ConflictError
from models.membership import Membership
from models.record import Record, RecordStatus, SignatureMeaning
from resolvers.change import Change
from resolvers.checking import require_reason
from resolvers.locking import lock_visible, require_on, require_version, scope_of_model
from resolvers.project import hold_active_project
from resolvers.record import (
    CONTRIBUTED,
    REVIEWED,
    UNDER_WAY,
    fields_of,
    had_a_hand_in,
    is_own_record,
    note_contributor,
)


async def submit_record(change: Change, *, record_id: UUID, expected_version: int) -> UUID:
    """Hand a draft, or a rejected record, over for review and return its id.

    Raises:
        NotFoundError, ForbiddenError: without `record:submit`; somebody else's record without `record:update`.
        ConflictError: another version; an archived project; under review or approved.
    """
    record = await lock_visible(change, Record, record_id)
    require_on(change, Permission.RECORD_SUBMIT, record)
    viewer = change.viewer
    scope = scope_of_model(change, record)
    if not is_own_record(viewer, fields_of(record)) and not can(viewer, Permission.RECORD_UPDATE, scope):
        raise ForbiddenError("Only your own records.", permission=Permission.RECORD_UPDATE)
    require_version(record.version, expected_version)
    await hold_active_project(change, record.project_id)
    if record.status not in UNDER_WAY:
        raise ConflictError(f"The record is {record.status}.", field=("input", "id"))
    note_contributor(change, record)
    return await _move(change, record, RecordStatus.SUBMITTED, *CONTRIBUTED)


async def approve_record(change: Change, *, record_id: UUID, expected_version: int, meaning: SignatureMeaning) -> UUID:
    """Sign a submitted record and return its id. The change's reason is optional.

    Name, time and meaning of the signature are in the record, and so in one change with the version that they are of
    (21 CFR 11.50 and 11.70). That it is the signer who signs was proved before (`resolvers/identity_proof.py`).

    Raises:
        NotFoundError, ForbiddenError: without `record:review`; a record one, or a program of one's own, had a hand in.
        ConflictError: another version; an archived project; not under review.
    """
    record = await _load_for_review(change, record_id, expected_version)
    return await _review(change, record, RecordStatus.APPROVED, change.intent.reason, meaning)


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
    if had_a_hand_in(change.viewer, fields_of(record)):
        raise ForbiddenError("Nobody reviews what they had a hand in.", permission=Permission.RECORD_REVIEW)
    require_version(record.version, expected_version)
    await hold_active_project(change, record.project_id)
    if record.status is not RecordStatus.SUBMITTED:
        raise ConflictError(f"The record is {record.status}, not SUBMITTED.", field=("input", "id"))
    return record


async def _review(
    change: Change, record: Record, status: RecordStatus, reason: str | None, meaning: SignatureMeaning | None = None
) -> UUID:
    record.reviewed_by_id = change.viewer.membership_id
    record.reviewer = await _name_of(change)
    record.reviewed_at = change.at
    record.review_reason = reason
    record.review_meaning = meaning
    return await _move(change, record, status, *REVIEWED)


async def _name_of(change: Change) -> str | None:
    """Return the reviewer's name, which stays with what they vouched for: under a key that does not go with them."""
    member = await Membership.get_or_none(
        id=change.viewer.membership_id, organization_id=change.organization_id, using_db=change.connection
    ).only("id", "organization_id", "user_id", "name")
    if member is None:
        return None
    attribution = organization_owner(change.organization_id, KeyPurpose.ATTRIBUTION)
    await active_keyring().load([attribution])
    await load_keys_for([member], "name")
    return member.name


async def _move(change: Change, record: Record, status: RecordStatus, *columns: str) -> UUID:
    record.status = status
    record.version += 1
    await record.save(using_db=change.connection, update_fields=["status", "version", *columns])
    return record.id
