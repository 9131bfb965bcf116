"""Step-up: what is sensitive is done by who proved a short while ago who they are, and not by a screen left open.

A program has no session and can't be asked: it holds a token that is its own, whose scope has no such action in it.
"""

from datetime import timedelta
from typing import Final

from auth.action import Action
from auth.errors import ForbiddenError, ReauthenticateError, UnauthenticatedError
from auth.principal import Viewer
from models.challenge import ChallengeKind
from models.errors import InvalidInputError
from models.session import Factor
from models.transaction import fetch
from resolvers.authenticator_notice import tell_used
from resolvers.challenge import find, take_own
from resolvers.change import Change, Intent, commit_change, record_attempt
from resolvers.identity_proof import AT_PASSWORD, is_own_password, refuse_proof, signed_in_person
from resolvers.second_factor import Answer, Proof, SpentProofError, load_having, verify_answer
from resolvers.services import Services
from resolvers.session_cookie import renew_cookie
from resolvers.standing import is_multi_factor
from resolvers.trail import Actor

ENROL: Final = (
    "Your organization demands a second factor, and you signed in without one. Add one (beginTotp or"
    " beginPasskeyRegistration), or sign in with it."
)
STALE: Final = "Prove anew that it is you (reauthenticate), then do this once more."


def require_fresh(change: Change, *, fresh_for: timedelta) -> None:
    """Return if who acts proved who they are so short a while ago, or is a program.

    Raises:
        ReauthenticateError: it is longer ago.
    """
    viewer = change.viewer
    if viewer.session_id is None:
        return
    if viewer.authenticated_at is None or change.at - viewer.authenticated_at > fresh_for:
        raise ReauthenticateError(STALE)


def require_strong(viewer: Viewer, *, has_second_factor: bool) -> None:
    """Return unless somebody has a second factor, and the viewer's session stands on none, as one from before it does.

    For changes of what they sign in with, which could else be made by who has the password alone.

    Raises:
        ReauthenticateError: so it is.
    """
    if has_second_factor and not is_multi_factor(viewer.factors):
        raise ReauthenticateError(STALE)


def require_enrolled(viewer: Viewer) -> None:
    """Return unless the viewer has to add a second factor before anything else.

    Raises:
        ForbiddenError: they have to; it says by what.
    """
    if viewer.is_enrolling:
        raise ForbiddenError(ENROL)


async def reauthenticate(
    services: Services, actor: Actor, *, password: str | None, answer: Answer, challenge: str | None
) -> str | None:
    """Have the viewer's session stand on what they prove now: the password with a second factor, or a passkey alone.

    Returns what its cookie is to hold from now on; None where it is held by tokens, of which the next refresh gives
    others.

    password: needed without a passkey. answer: needed where there is a second factor. challenge: that a passkey
        answers.

    Raises:
        InvalidInputError: what is needed was not given.
        ForbiddenError: it proves nothing; or it is a program that asks.
        UnauthenticatedError: nobody is signed in; or it was wrong too often: the session has been ended.
        ConflictError: the passkey was not asked in this session, or too long ago.
        RateLimitedError: too many passwords are being checked already.
    """
    person = signed_in_person(actor)
    intent = Intent(action=Action.SESSION_REAUTHENTICATE, actor=actor, entity="session", subjects=[person.session_id])
    try:
        proofs, factors = await _proved(services, actor, password=password, answer=answer, challenge=challenge)
    except Exception as error:
        await record_attempt(intent, error)
        raise

    async def stand_on_it(change: Change) -> str | None:
        for proof in proofs:
            if proof.factor is Factor.PASSKEY:
                await take_own(change, ChallengeKind.PASSKEY_PROOF, challenge or "")
            await proof.use(change.connection, at=change.at)
            await tell_used(change, proof, user_id=person.user_id)
        await fetch(
            change.connection,
            "update session set authenticated_at = $3, factors = $4 where organization_id = $1 and id = $2",
            change.organization_id,
            person.session_id,
            change.at,
            sorted(factors),
        )
        return await renew_cookie(change)

    try:
        return await commit_change(intent, stand_on_it)
    except SpentProofError as error:
        await refuse_proof(actor, person.session_id, error.message, at=("input",))


async def _proved(
    services: Services, actor: Actor, *, password: str | None, answer: Answer, challenge: str | None
) -> tuple[list[Proof], list[Factor]]:
    """Return what was proved, to be used up, and by which factors."""
    person = signed_in_person(actor)
    if password is None and (answer.passkey is None or not answer.is_one):
        raise InvalidInputError("Expected your password, or a passkey.", field=AT_PASSWORD)
    having = await load_having(person.user_id)
    if password is not None:
        if not await is_own_password(services, person.user_id, password):
            await refuse_proof(actor, person.session_id, "This is not your password.", at=AT_PASSWORD)
        if not having.has_second_factor:
            return [], [Factor.PASSWORD]
    nonce = None
    if answer.passkey is not None:
        nonce = await _nonce(challenge)
    proof = await verify_answer(services, having, answer, nonce=nonce)
    if proof is None:
        await refuse_proof(actor, person.session_id, "This does not prove that it is you.", at=("input",))
    return [proof], [proof.factor] if password is None else [Factor.PASSWORD, proof.factor]


async def _nonce(challenge: str | None) -> bytes | None:
    try:
        return (await find(ChallengeKind.PASSKEY_PROOF, challenge or "")).nonce
    except UnauthenticatedError as error:
        raise InvalidInputError(error.message, field=("input", "challenge")) from error
