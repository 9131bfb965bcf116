"""Legal holds in a database that came back: those that were placed after the moment that was restored stand again.

What they keep could else be deleted or erased for good before anybody notices. A note outside of the database says
which holds stand (`resolvers/way_in.py`), by ids; why one was placed, it does not say.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Self
from uuid import UUID

from models.inventory import entity_of
from models.legal_hold import HoldOn, LegalHold, lock_for_placing
from models.membership import Membership, MembershipStatus
from models.record import Record
from models.site import Site
from models.transaction import fetch
from resolvers.change import Change

_MEMBERSHIP: Final = entity_of(Membership).name
# Whoever placed it may have joined since: then it is an owner's to lift.
_PLACED_BY: Final = (
    f"select id from \"{_MEMBERSHIP}\" where organization_id = $1 and (id = $2 or role = 'OWNER')"
    f" order by id = $2 desc, status = '{MembershipStatus.ACTIVE}' desc, id limit 1"
)
_WHERE: Final = {
    HoldOn.SITE: f'select project_id, code as site_code from "{entity_of(Site).name}"',
    HoldOn.RECORD: f'select project_id, site_code from "{entity_of(Record).name}"',
}


@dataclass(frozen=True, slots=True)
class _Noted:
    """A hold as it was noted."""

    id: UUID
    on: HoldOn
    subject_id: UUID
    placed_by_id: UUID

    @classmethod
    def of_key(cls, key: str) -> Self:
        row_id, on, subject_id, placed_by_id = key.split(":")
        return cls(UUID(row_id), HoldOn(on), UUID(subject_id), UUID(placed_by_id))


async def place_again(change: Change, noted: Iterable[str]) -> int:
    """Place the holds of an organization that stood last and that the database does not know; return how many.

    One that it knows as lifted was lifted. Where what it is on came after the moment that was restored, it is placed
    all the same, and keeps that if it is brought in again.

    noted: what was noted of them. The change's reason is that of the restore.
    """
    table = entity_of(LegalHold).name
    await lock_for_placing(change.connection, change.organization_id)
    rows = await fetch(
        change.connection, f'select id from "{table}" where organization_id = $1', change.organization_id
    )
    known = {UUID(str(row["id"])) for row in rows}
    missing = [one for one in map(_Noted.of_key, noted) if one.id not in known]
    if missing:
        await change.insert(LegalHold, [await _row(change, one) for one in missing])
    return len(missing)


async def _row(change: Change, one: _Noted) -> dict[str, Any]:
    (placed_by,) = await fetch(change.connection, _PLACED_BY, change.organization_id, one.placed_by_id)
    where: list[dict[str, Any]] = []
    if one.on in _WHERE:
        text = f"{_WHERE[one.on]} where organization_id = $1 and id = $2"
        where = await fetch(change.connection, text, change.organization_id, one.subject_id)
    return {
        "id": one.id,
        "organization_id": change.organization_id,
        "created_at": change.at,
        "subject_kind": one.on,
        "subject": one.subject_id,
        "project_id": where[0]["project_id"] if where else None,
        "site_code": where[0]["site_code"] if where else None,
        "reason": f"Placed again after a restore ({change.intent.reason})"[:2000],
        "placed_by_id": placed_by["id"],
    }
