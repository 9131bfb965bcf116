"""Settling a database that came back from a backup: nothing that ended since works in it again.

All sign-ins end, and all links and codes that wait for an answer, and the keys of access tokens. What lets somebody in
and was taken away after the moment that was restored is taken away again, by the note of it that is kept outside of the
database (`resolvers/way_in.py`); where there is no such note, all tokens of programs end as well.

What could be lost for good waits for people: legal holds that were placed after the moment stand again, confirmed
erasures are confirmed anew, and where there is no note nothing is deleted by a period until somebody decides it anew.
Erasures that were carried out are done again by `apply_erasures`, before this. Each organization's trail says that it
was restored, by an entry `database.restore` with the reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from uuid import UUID

from auth.action import Action
from auth.principal import SYSTEM_ID
from models.challenge import Challenge, ChallengeKind
from models.data_export import DataExport
from models.inventory import entity_of
from models.membership import Membership
from models.organization import Organization
from models.service_account_token import ServiceAccountToken
from models.session import Session
from models.transaction import fetch, seeing_as
from resolvers.change import Change, Intent, commit_change
from resolvers.checking import require_reason
from resolvers.key_rotation import revoke_signing_keys
from resolvers.restored_erasure import ask_anew, gone
from resolvers.restored_factor import end_bare_passwords, having_factors
from resolvers.restored_hold import place_again
from resolvers.services import Services
from resolvers.trail import Actor
from resolvers.way_in import ERASURES, HAVING_FACTORS, HOLDS, WaysIn, close_withdrawn, stop_periods


@dataclass(slots=True)
class Settled:
    """What ended: sign-ins, questions that waited for an answer, tokens of programs, keys of access tokens.

    closed: what had been taken away after the moment that was restored, and is again, by kind; of policies, what is as
    strict again. other: roles and rights that are other than they stood last: look at them. without_factor: people who
    had a second factor and have none now, and set a password anew. erasures_to_confirm: requests that were confirmed.
    erasures_gone: those that stood last and are not there. holds: placed again. knows_ways_in: whether there was a note
    of what stood last.
    """

    sessions: int = 0
    questions: int = 0
    tokens: int = 0
    signing_keys: int = 0
    without_factor: int = 0
    erasures_to_confirm: int = 0
    erasures_gone: list[str] = field(default_factory=list)
    holds: int = 0
    knows_ways_in: bool = False
    closed: dict[str, int] = field(default_factory=dict)
    other: dict[str, int] = field(default_factory=dict)


async def settle_restored(services: Services, actor: Actor, noted: WaysIn | None, *, reason: str) -> Settled:
    """End what must not work again in a database that was restored, and say so in each trail. Harmless when repeated.

    noted: what stood last, as far as that is known.

    Raises:
        InvalidInputError: the reason does not fit.
        UnavailableError: a database or the key provider is away. What was done stays; repeat it.
    """
    reason = require_reason(reason, at=("reason",))
    settled = Settled(knows_ways_in=noted is not None)
    begun = {one.id for one in await services.destructions.all()}
    had_factors = _noted_with_factors(noted)
    for organization_id in (SYSTEM_ID, *await services.keystore.organizations()):
        inside = replace(actor, organization_id=organization_id)
        intent = Intent(
            Action.DATABASE_RESTORE,
            inside,
            reason=reason,
            entity=entity_of(Organization).name,
            subjects=[organization_id],
        )

        async def work(change: Change) -> None:
            await _settle_organization(change, settled, noted, had_factors)
            settled.erasures_to_confirm += await ask_anew(change, begun, sends_mail=services.mail is not None)
            stood = {} if noted is None else noted.standing.get(change.organization_id, {})
            settled.erasures_gone += await gone(change, stood.get(ERASURES, ()), begun)

        await commit_change(intent, work)
    settled.signing_keys = await revoke_signing_keys(services.keyring, services.keystore, actor)
    return settled


async def _settle_organization(change: Change, settled: Settled, noted: WaysIn | None, had_factors: set[UUID]) -> None:
    settled.sessions += await _end(change, entity_of(Session).name, "revoked_at", "revoked_at is null")
    await _end(change, entity_of(DataExport).name, "link_expires_at", "link_expires_at > $2")
    settled.questions += await _end_questions(change)
    if noted is None:
        settled.tokens += await _end(change, entity_of(ServiceAccountToken).name, "revoked_at", "revoked_at is null")
        # Nobody knows of a hold that was placed since.
        _add(settled.closed, await stop_periods(change))
        return
    had_factors.update(await having_factors(change))
    found = await close_withdrawn(change, noted)
    _add(settled.closed, found.closed)
    _add(settled.other, found.other)
    settled.without_factor += await end_bare_passwords(change, had_factors)
    settled.holds += await place_again(change, noted.standing.get(change.organization_id, {}).get(HOLDS, ()))


def _noted_with_factors(noted: WaysIn | None) -> set[UUID]:
    """Return whom the note knows to have had a second factor, in whichever organization it was added."""
    standing = {} if noted is None else noted.standing
    return {UUID(key) for kinds in standing.values() for key in kinds.get(HAVING_FACTORS, ())}


async def _end(change: Change, table: str, column: str, condition: str) -> int:
    text = f'update "{table}" set {column} = $2 where organization_id = $1 and {condition} returning id'
    return len(await fetch(change.connection, text, change.organization_id, change.at))


async def _end_questions(change: Change) -> int:
    """Answer, for good, what was asked of the organization's people and waits: links from letters, codes, passkeys."""
    people = await fetch(
        change.connection,
        f'select user_id from "{entity_of(Membership).name}" where organization_id = $1',
        change.organization_id,
    )
    ended = 0
    for user_id in {UUID(str(row["user_id"])) for row in people}:
        async with seeing_as(change.connection, user_id):
            ended += len(
                await fetch(
                    change.connection,
                    f'update "{entity_of(Challenge).name}" set answered_at = $2'
                    f" where user_id = $1 and answered_at is null and kind <> '{ChallengeKind.DEVICE_PROOF}'"
                    " returning id",
                    user_id,
                    change.at,
                )
            )
    return ended


def _add(to: dict[str, int], found: Mapping[str, int]) -> None:
    for kind, count in found.items():
        if count:
            to[kind] = to.get(kind, 0) + count
