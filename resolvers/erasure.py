"""Erasing a person, somebody whom data name, or an organization: by destroying the keys of what is theirs.

Every copy becomes unreadable at once: rows, the trail, and backups of the data. All exports and imports of the
organization end as well, since nobody looks into files for a name. Which keys are destroyed is written down before, so
that it is done again wherever older data, or an older keystore, come back (`apply_erasures`). What is left are ids,
pseudonyms that nobody can resolve any more, and, under the organization's attribution key, who vouched for a record.

Whose keys go, `resolvers/erasure_owner.py` says; what rows say besides, `resolvers/erasure_row.py` changes. This is the
one way to erase: for operators on the command line, and for what was asked for and confirmed
(`resolvers/erasure_execution.py`).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final
from uuid import UUID, uuid5

from auth.errors import NotFoundError
from auth.principal import SYSTEM_ID
from models.base import new_id
from models.encryption.destruction import Destruction
from models.encryption.keyring import active_keyring
from models.reading import OneStatement
from models.transaction import Tenant
from resolvers.account_index import email_index_of
from resolvers.checking import require_reason, require_storable, require_text
from resolvers.collector import COLLECTOR
from resolvers.erasure_hold import require_no_hold
from resolvers.erasure_owner import Plan, keys_to_destroy, plan_names, plan_organization, plan_person
from resolvers.erasure_row import change_rows, is_changed
from resolvers.services import Services
from resolvers.trail import Actor

LOOKS: Final = 3
"""How often it is looked for keys of who is erased: those of an organization at work are made anew meanwhile."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure did: the keys that it destroyed, and in how many organizations rows were changed.

    key_ids: those keys. rows: how many rows were changed, by table, in each organization; under the nil UUID, of what
    lies in none. at: when the first key was destroyed.
    unknown_names: spellings that were given and that no record has, so that a slip of the pen is seen.
    """

    id: UUID
    key_ids: tuple[UUID, ...]
    organizations: int
    rows: Mapping[UUID, Mapping[str, int]] = field(default_factory=lambda: MappingProxyType({}))
    at: datetime | None = None
    unknown_names: tuple[str, ...] = ()

    @property
    def keys(self) -> int:
        """How many keys were destroyed."""
        return len(self.key_ids)


async def erase_person(
    services: Services, actor: Actor, *, email: str, also_named: Collection[str] = (), reason: str
) -> Erased:
    """Erase a person everywhere: their account, their names as member and collector, what the trail holds of them.

    also_named: other spellings under which they stand as a collector, in any organization that they belong to.

    Raises:
        InvalidInputError: the reason, the address or a spelling does not fit.
        NotFoundError: nobody has that address.
        ConflictError: they are the last owner of an organization, or a legal hold keeps what is theirs.
        UnavailableError: a database or the key provider is away. What was begun is finished at the next start.
    """
    # Before anything is destroyed: what the trail can't hold would fail after that.
    reason = require_reason(reason, at=("reason",))
    require_storable(email, at=("email",))
    for spelling in also_named:
        require_text(spelling, at=("also_named",), longest=COLLECTOR.max_length or 0)
    index = await email_index_of(email)
    async with OneStatement(Tenant(email_index=index)) as connection:
        user_id = await connection.fetchval("select id from user_account where email_index = $1", index)
    if user_id is None:
        raise NotFoundError("Nobody has that address.")
    plan = await plan_person(services, user_id, also_named=also_named)
    await require_no_hold(plan)
    return await carry_out(services, actor, plan, reason=reason)


async def erase_name(services: Services, actor: Actor, *, slug: str, names: Collection[str], reason: str) -> Erased:
    """Erase somebody whom an organization's records name as a collector, and who need be no user of ours.

    Raises:
        InvalidInputError: the reason or a name does not fit.
        NotFoundError: there is no such organization, or no record names them.
        ConflictError: a legal hold keeps a record that names them.
    """
    reason = require_reason(reason, at=("reason",))
    for name in names:
        require_text(name, at=("names",), longest=COLLECTOR.max_length or 0)
    plan = await plan_names(services, await organization_named(services, slug), names)
    if len(plan.unknown) == len(names):
        raise NotFoundError("No record of the organization names them.")
    await require_no_hold(plan)
    return await carry_out(services, actor, plan, reason=reason)


async def erase_organization(services: Services, actor: Actor, *, slug: str, reason: str) -> Erased:
    """Make everything that an organization has sealed unreadable, and let nobody in any more.

    The accounts of its people are theirs, and stay.

    Raises:
        InvalidInputError: the reason does not fit.
        NotFoundError: there is no such organization.
        ConflictError: a legal hold keeps something of it.
    """
    reason = require_reason(reason, at=("reason",))
    plan = plan_organization(await organization_named(services, slug))
    await require_no_hold(plan)
    return await carry_out(services, actor, plan, reason=reason)


async def carry_out(
    services: Services, actor: Actor, plan: Plan, *, reason: str | None, erasure_id: UUID | None = None
) -> Erased:
    """Destroy the keys of a plan, and change what rows say besides. It can be done again, from wherever it broke off.

    erasure_id: by which what was destroyed before is found in the log; one that was never begun, if it is left out.

    Raises:
        UnavailableError: a database or the key provider is away. To be done again, or finished at the next start.
    """
    one = Destruction(
        erasure_id or new_id(),
        datetime.now(UTC),
        plan.person_id,
        plan.organization_id,
        tuple(sorted(plan.within)),
        (),
    )
    before = [] if erasure_id is None else await _begun(services, one.id)
    # What was written down and perhaps not done.
    await _destroy(services, [key_id for done in before for key_id in done.key_ids])
    gone = [key_id for done in before for key_id in done.key_ids]
    for look in range(LOOKS):
        keys = await keys_to_destroy(services, plan)
        if not keys and (look or before):
            break
        # Who replaces keys at the same time may have made others since the first look: each is an entry of its own.
        number = len(before) + look
        await services.destructions.add(replace(one, id=_numbered(one.id, number), key_ids=tuple(keys)))
        await _destroy(services, keys)
        gone += keys
    within = {*plan.within, *(place for done in before for place in done.within_ids)}
    whole = replace(one, within_ids=tuple(sorted(within)), key_ids=tuple(gone))
    changed = await change_rows(services.keystore, whole, actor, reason)
    at = min((done.at for done in before), default=one.at)
    organizations = len(changed.rows.keys() - {SYSTEM_ID})
    return Erased(one.id, tuple(gone), organizations, changed.rows, at, plan.unknown)


async def apply_erasures(services: Services, actor: Actor) -> int:
    """Do every erasure again that the data, or the keystore, do not know of; return how many there were.

    To be awaited before the first request: what is served may have come back from a backup.

    Raises:
        UnavailableError: a database or the key provider is away.
    """
    destructions = await services.destructions.all()
    await _destroy(services, {key_id for one in destructions for key_id in one.key_ids})
    applied = 0
    for one in destructions:
        if not await is_changed(services.keystore, one):
            await change_rows(services.keystore, one, actor, None)
            applied += 1
    return applied


async def organization_named(services: Services, slug: str) -> UUID:
    """Return the id of an organization, by its slug. Raises `NotFoundError` if there is none."""
    for organization_id in await services.keystore.organizations():
        async with OneStatement(Tenant(organization_id=organization_id)) as connection:
            found = await connection.fetchval(
                "select id from organization where id = $1 and slug = $2", organization_id, slug.lower()
            )
        if found is not None:
            return organization_id
    raise NotFoundError(f"There is no organization {slug!r}.")


async def _begun(services: Services, erasure_id: UUID) -> list[Destruction]:
    """Return what is written down of an erasure: each look that found keys, by the number of the look."""
    known = {one.id: one for one in await services.destructions.all()}
    found: list[Destruction] = []
    while (one := known.get(_numbered(erasure_id, len(found)))) is not None:
        found.append(one)
    return found


def _numbered(erasure_id: UUID, look: int) -> UUID:
    return erasure_id if look == 0 else uuid5(erasure_id, str(look))


async def _destroy(services: Services, keys: Collection[UUID]) -> None:
    await services.keystore.destroy(keys)
    for key_id in keys:
        active_keyring().hear_destroyed(key_id)
