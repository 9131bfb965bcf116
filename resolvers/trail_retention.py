"""Deciding how long an organization keeps the entries of its audit trail."""

from uuid import UUID

from auth.permission import Permission
from auth.policy import require
from auth.scope import ORGANIZATION
from models.audit_entry import EntryKind
from models.base import new_id
from models.errors import ConflictError, InvalidInputError
from models.inventory import entity_of
from models.trail_retention import LEAST_DAYS, MOST_DAYS, TrailRetention
from resolvers.change import Change
from resolvers.membership import lock_standing
from resolvers.writing import require_writable


async def set_trail_retention(change: Change, *, kind: EntryKind, days: int | None) -> UUID:
    """Decide after how many days entries of a kind leave the trail, None for never, and return the decision's row.

    Raises:
        ForbiddenError: without `audit:set_retention`.
        InvalidInputError: fewer days than `LEAST_DAYS`, or more than `MOST_DAYS`.
        ConflictError: it is decided so already.
    """
    # One at a time, by whoever may once their turn has come.
    change = await lock_standing(change)
    require(change.viewer, Permission.AUDIT_SET_RETENTION, ORGANIZATION)
    require_writable(
        change, entity_of(TrailRetention), ORGANIZATION, {"kind": kind, "days": days}, at=("input",), is_new=True
    )
    if days is not None and not LEAST_DAYS <= days <= MOST_DAYS:
        raise InvalidInputError(f"Expected {LEAST_DAYS} to {MOST_DAYS} days, or null.", field=("input", "days"))
    decided = await TrailRetention.get_or_none(
        organization_id=change.organization_id, kind=kind, using_db=change.connection
    )
    if (decided.days if decided is not None else None) == days:
        raise ConflictError("It is decided so already.", field=("input", "days"))
    if decided is None:
        row_id = new_id()
        row = {"id": row_id, "organization_id": change.organization_id, "created_at": change.at}
        await change.insert(TrailRetention, [{**row, "kind": kind, "days": days}])
        return row_id
    decided.days = days
    await decided.save(using_db=change.connection, update_fields=["days"])
    return decided.id
