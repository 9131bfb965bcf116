"""Access reviews: opening one, which writes down who has what, and closing it. Deciding: `access_review_decision.py`.

What is listed is read in one statement for each kind of thing, however much there is: since when somebody has it, from
the trail, and when they were last seen using it.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from tortoise.exceptions import IntegrityError

from auth.permission import Permission
from auth.policy import require
from auth.role import ORGANIZATION_ROLES
from auth.scope import ORGANIZATION
from models.access_review import AccessReview, AccessReviewItem, ReviewedKind
from models.base import new_id
from models.device import DeviceStatus
from models.errors import ConflictError, InvalidInputError
from models.inventory import entity_of
from models.membership import MembershipStatus
from models.outgoing_mail import MailKind
from models.statement import Statement
from models.transaction import fetch
from resolvers.change import Change
from resolvers.creating import constraint_of
from resolvers.locking import lock_visible, require_version
from resolvers.mailing import enqueue
from resolvers.writing import require_writable

DUE_AFTER: Final = timedelta(days=30)
"""How long there is to decide, if nothing else is said."""
LONGEST_DUE: Final = timedelta(days=366)

# A UUIDv7 (RFC 9562, 5.7), which PostgreSQL makes by itself from version 18 on alone: the milliseconds of now in front
# of a random one, and the version.
_NEW_ID: Final = (
    "encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) placing"
    " substring(int8send(floor(extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6),"
    " 52, 1), 53, 1), 'hex')::uuid"
)
_LISTED: Final = """
    insert into access_review_item
      (id, organization_id, created_at, access_review_id, kind, subject, membership_id, project_id, role, since,
       last_used_at)
    select {new_id}, t.organization_id, $3, $2, '{kind}', t.id, {whose}, {project}, left({role}, 100),
           coalesce((select max(e.at) from change h
                       join audit_entry e on e.organization_id = h.organization_id and e.id = h.entry_id
                      where h.organization_id = t.organization_id and h.entity = '{table}' and h.entity_id = t.id
                        and h.columns ?| array[{had}]), t.created_at),
           {used}
      from {table} t {joined}
     where t.organization_id = $1 and {live}
"""
_SEEN: Final = (
    "(select max(greatest(s.created_at, s.refreshed_at)) from session s"
    " where s.organization_id = t.organization_id and s.membership_id = {0})"
)
_DECIDERS: Final = (
    "select m.user_id from membership m"
    " left join custom_role c on c.organization_id = m.organization_id and c.id = m.custom_role_id"
    " where m.organization_id = $1 and m.status = $2 and (m.role_expires_at is null or m.role_expires_at > $3)"
    " and (m.role = any($4) or $5 = any(c.permissions)) order by m.id"
)


async def open_access_review(change: Change, *, due_at: datetime | None = None) -> UUID:
    """Write down all that everybody has, to be decided until a moment (in 30 days if none is named); return its id.

    Raises:
        ForbiddenError: without `access:review`.
        InvalidInputError: the moment is over, or more than a year away.
        ConflictError: a review is open already.
    """
    viewer = require(change.viewer, Permission.ACCESS_REVIEW, ORGANIZATION)
    due = due_at or change.at + DUE_AFTER
    require_writable(change, entity_of(AccessReview), ORGANIZATION, {"due_at": due}, at=("input",), is_new=True)
    if not change.at < due <= change.at + LONGEST_DUE:
        raise InvalidInputError("Expected a moment within a year from now.", field=("input", "dueAt"))
    return await make_review(change, due_at=due, opened_by_id=viewer.membership_id)


async def make_review(change: Change, *, due_at: datetime, opened_by_id: UUID | None) -> UUID:
    """Make a review with its items, tell by mail who may decide, and return its id.

    opened_by_id: None where nobody asked for it but the calendar.

    Raises:
        ConflictError: a review is open already.
    """
    review_id = new_id()
    try:
        await AccessReview.create(
            using_db=change.connection,
            id=review_id,
            organization_id=change.organization_id,
            created_at=change.at,
            opened_by_id=opened_by_id,
            due_at=due_at,
        )
    except IntegrityError as error:
        if constraint_of(error) != "access_review_open":
            raise
        raise ConflictError("A review is open already: close that one first.") from error
    for statement in _STATEMENTS:
        await fetch(change.connection, statement, change.organization_id, review_id, change.at)
    for row in await fetch(
        change.connection,
        _DECIDERS,
        change.organization_id,
        MembershipStatus.ACTIVE,
        change.at,
        [role for role, permissions in ORGANIZATION_ROLES.items() if Permission.ACCESS_REVIEW in permissions],
        Permission.ACCESS_REVIEW,
    ):
        await enqueue(change, kind=MailKind.ACCESS_REVIEW_DUE, user_id=row["user_id"], subject_id=review_id)
    return review_id


async def close_access_review(change: Change, *, review_id: UUID, expected_version: int) -> UUID:
    """Close a review and return its id. What was not decided stays as it is, and stays listed as undecided.

    Raises:
        NotFoundError, ForbiddenError: without `access:review`.
        ConflictError: it is at another version, or closed already; or something is undecided, and the change has no
            reason that says why.
    """
    review = await lock_visible(change, AccessReview, review_id)
    viewer = require(change.viewer, Permission.ACCESS_REVIEW, ORGANIZATION)
    require_version(review.version, expected_version)
    if review.closed_at is not None:
        raise ConflictError("The review is closed already.", field=("input", "id"))
    undecided = await _undecided(change, review.id)
    if undecided and change.intent.reason is None:
        raise ConflictError(
            f"Not decided yet: {undecided}. Decide, or say why it is left at that.", field=("input", "reason")
        )
    review.closed_by_id = viewer.membership_id
    review.closed_at = change.at
    review.version += 1
    await review.save(using_db=change.connection, update_fields=["closed_by_id", "closed_at", "version"])
    return review.id


async def _undecided(change: Change, review_id: UUID) -> int:
    statement = Statement()
    [row] = await fetch(
        change.connection,
        f'select count(*) as undecided from "{entity_of(AccessReviewItem).name}"'
        f" where organization_id = {statement.argument(change.organization_id)}"
        f" and access_review_id = {statement.argument(review_id)} and decision is null",
        *statement.arguments,
    )
    return int(row["undecided"])


def _statements() -> Iterator[str]:
    """Yield the statements that list what there is: what is live of each kind, and which of its columns give it."""
    named = "left join custom_role c on c.organization_id = t.organization_id and c.id = t.custom_role_id"
    yield _LISTED.format(
        new_id=_NEW_ID,
        kind=ReviewedKind.MEMBERSHIP,
        table="membership",
        whose="t.id",
        project="null",
        role="case when t.role_expires_at <= $3 then 'MEMBER' else coalesce(c.name, t.role) end",
        had="'role', 'custom_role_id', 'status'",
        used=_SEEN.format("t.id"),
        joined=named,
        live=f"t.status = '{MembershipStatus.ACTIVE}'",
    )
    yield _LISTED.format(
        new_id=_NEW_ID,
        kind=ReviewedKind.PROJECT_MEMBERSHIP,
        table="project_membership",
        whose="t.membership_id",
        project="t.project_id",
        role="coalesce(c.name, t.role)",
        had="'role', 'custom_role_id'",
        used=_SEEN.format("t.membership_id"),
        joined=named,
        live="(t.expires_at is null or t.expires_at > $3)",
    )
    yield _LISTED.format(
        new_id=_NEW_ID,
        kind=ReviewedKind.SERVICE_ACCOUNT,
        table="service_account",
        whose="t.created_by_id",
        project="null",
        role="t.name",
        had="'created_by_id', 'permissions', 'project_ids'",
        used=(
            "(select max(u.used_at) from service_account_use u join service_account_token k"
            " on k.organization_id = u.organization_id and k.id = u.id"
            " where k.organization_id = t.organization_id and k.service_account_id = t.id)"
        ),
        joined="",
        live="t.revoked_at is null and t.expires_at > $3",
    )
    yield _LISTED.format(
        new_id=_NEW_ID,
        kind=ReviewedKind.DEVICE,
        table="device",
        whose="t.membership_id",
        project="null",
        role="t.platform || ' ' || t.model",
        had="'membership_id', 'status'",
        used="t.last_seen_at",
        joined="",
        live=f"t.status = '{DeviceStatus.ACTIVE}'",
    )


_STATEMENTS: Final = tuple(_statements())
