"""A fresh proof that whoever signs is who is signed in: asked for with each signature (21 CFR 11.200(a)).

A session alone does not sign: it may be on a screen that somebody left. The proof is the password; whatever else may
prove who somebody is belongs here as well. It is asked for before the transaction that it is for, since hashing takes
tens of milliseconds in which nothing should be locked.
"""

from dataclasses import dataclass
from typing import Final, NoReturn
from uuid import UUID

from auth.action import Action
from auth.errors import ForbiddenError, UnauthenticatedError
from auth.password import UnacceptablePasswordError
from models.errors import InvalidInputError
from models.reading import OneStatement
from models.transaction import Tenant, fetch
from resolvers.change import Change, Intent, commit_change
from resolvers.checking import Path
from resolvers.services import Services
from resolvers.standing import ENDED
from resolvers.trail import Actor

MOST_WRONG: Final = 5
"""Wrong proofs in one session; the last of them ends it. A right one in between takes none back."""

AT_PASSWORD: Final = ("input", "password")


@dataclass(frozen=True, slots=True)
class SignedInPerson:
    """Who is asked for a proof, and in which session."""

    user_id: UUID
    session_id: UUID


async def prove_identity(services: Services, actor: Actor, password: str, *, at: Path = AT_PASSWORD) -> None:
    """Return if the password is the viewer's. at: the path of the input that it was given in.

    A wrong one is counted in the session, in the trail too. Of those that are tried at once each counts: what is wrong
    after the session has ended is answered as what is right, and tells nothing.

    Raises:
        ForbiddenError: it is not; or who asks is a program, which has none.
        UnauthenticatedError: it is not, and too many were not: the session has been ended.
        InvalidInputError: it can't be a password.
        RateLimitedError: too many passwords are being checked already.
    """
    person = signed_in_person(actor)
    if not await is_own_password(services, person.user_id, password):
        await refuse_proof(actor, person.session_id, "This is not your password.", at=at)


def signed_in_person(actor: Actor) -> SignedInPerson:
    """Return who can be asked for a proof.

    Raises:
        UnauthenticatedError: nobody is signed in.
        ForbiddenError: it is a program that asks, which proves nothing but its token.
    """
    viewer = actor.viewer
    if viewer is None:
        raise UnauthenticatedError("Sign in first.")
    if viewer.user_id is None or viewer.session_id is None:
        raise ForbiddenError("A program has no session, and proves nothing but its token.")
    return SignedInPerson(viewer.user_id, viewer.session_id)


async def is_own_password(services: Services, user_id: UUID, password: str) -> bool:
    """Return whether it is somebody's password, who is signed in.

    Raises:
        InvalidInputError: it can't be a password.
        RateLimitedError: too many passwords are being checked already.
    """
    async with OneStatement(Tenant(user_id=user_id)) as connection:
        encoded = await connection.fetchval("select password_hash from user_account where id = $1", user_id)
    try:
        verdict = await services.hashing.run(services.passwords.verify, encoded, password)
    except UnacceptablePasswordError as error:
        raise InvalidInputError(error.message, field=AT_PASSWORD) from error
    return verdict.ok


async def refuse_proof(actor: Actor, session_id: UUID, message: str, *, at: Path) -> NoReturn:
    """Count a wrong proof, and raise. The count is committed before anything is answered.

    message, at: what is said of it, and the path of the input.

    Raises:
        ForbiddenError: with the message.
        UnauthenticatedError: too many were wrong: the session has been ended.
    """

    async def count(change: Change) -> int:
        counted = await fetch(
            change.connection,
            "update session set wrong_proofs = wrong_proofs + 1,"
            " revoked_at = case when wrong_proofs + 1 >= $1 then $2::timestamptz end"
            " where organization_id = $3 and id = $4 and revoked_at is null returning wrong_proofs",
            MOST_WRONG,
            change.at,
            change.organization_id,
            session_id,
        )
        if not counted:
            raise UnauthenticatedError(ENDED)
        return int(counted[0]["wrong_proofs"])

    intent = Intent(action=Action.SESSION_REFUSE_PROOF, actor=actor, entity="session", subjects=[session_id])
    if await commit_change(intent, count) >= MOST_WRONG:
        raise UnauthenticatedError("Too many wrong proofs. The session has been ended.", field=at)
    raise ForbiddenError(message, field=at)
