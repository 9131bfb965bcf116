"""Signing in: finding out who somebody is, and in which organization they want to be.

An unknown address and a wrong password get the same answer after the same work: one look-up, one Argon2id, one entry
of the refused attempt. Who guesses waits longer and longer (`resolvers/throttle.py`), and no work is done for who has
to wait. Where there is a second factor the right password opens nothing but a question, which is answered once, within
minutes (`complete_sign_in`). A passkey signs in by itself: it says whose it is, and its owner unlocked it.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from auth.action import Action
from auth.device_proof import for_sign_in
from auth.errors import ClonedPasskeyError, RateLimitedError, UnauthenticatedError
from auth.password import UnacceptablePasswordError
from auth.principal import SYSTEM_ID
from models.authenticator import AuthenticatorKind
from models.challenge import Challenge, ChallengeKind
from models.errors import InvalidInputError
from models.inventory import entity_of
from models.membership import MembershipStatus
from models.organization import OrganizationStatus
from models.reading import OneStatement
from models.searching import load_index_key
from models.session import Factor
from models.transaction import Tenant, fetch, write_transaction
from models.user import User, UserStatus
from resolvers.account_index import account_mark, email_index_of
from resolvers.authenticator_notice import tell_used
from resolvers.challenge import OVER, About, ask, find, new_secret, note_wrong, take, wrong_answers
from resolvers.change import Change, Intent, commit_change, record_attempt
from resolvers.device_proof import prove_device
from resolvers.passkey_proof import assertion_options, claimed, new_nonce
from resolvers.proved_password import ProvedPassword, hold_proved
from resolvers.second_factor import Answer, Having, Proof, SpentProofError, load_having, verify_answer
from resolvers.services import Services
from resolvers.session import Delivery, Opening, SignedIn, open_session
from resolvers.sign_in_notice import tell_unusual
from resolvers.throttle import Guess, Guessing, account_of, count, guessing
from resolvers.trail import Actor

TIME_TO_COMPLETE: Final = timedelta(minutes=5)
"""From the password to the second factor, and from a passkey's question to its answer."""
MOST_WRONG_ANSWERS: Final = 25
"""In an hour, over all challenges of a person. Only who has the password adds to them; a passkey alone still signs in.
At two codes that are taken at a time, whoever guesses all day is right in one of 800 days (RFC 4226, 7.3)."""

_ACCOUNT: Final = entity_of(User).name
_REFUSED: Final = "The address or the password is wrong."
_NOT_PROVED: Final = "This does not prove that it is you."
_PASSKEY_REFUSED: Final = "This passkey does not sign in here."


@dataclass(frozen=True, slots=True)
class Challenged:
    """What the right password gets where there is a second factor: a question, and no token of any session.

    token: names the question. methods: by which factors it can be answered. passkey_options: the JSON that the browser
    takes to ask a passkey; None where there is none.
    """

    token: str = field(repr=False)
    methods: Sequence[Factor]
    passkey_options: str | None
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class PasskeyAsked:
    """What a passkey is asked that is to sign somebody in, whoever it is."""

    token: str = field(repr=False)
    options: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class _Choice:
    organization_id: UUID
    membership_id: UUID
    slug: str


async def sign_in(
    services: Services,
    actor: Actor,
    *,
    email: str,
    password: str,
    organization: str | None = None,
    device_id: UUID | None = None,
    device_proof: str | None = None,
    delivery: Delivery = Delivery.TOKENS,
    client_name: str | None = None,
) -> SignedIn | Challenged:
    """Check a password and open a session in an organization, on a device where one is named; or ask for more.

    organization: the slug; needed only by people who belong to several. device_proof: of the device, for this sign-in.
    delivery: how the session is held. client_name: what the person calls it.

    Raises:
        UnauthenticatedError: wrong in any way that must not be told apart; or suspended. Said only to who gave the
            right password: the device is blocked or not enrolled, or its proof is missing or not good.
        InvalidInputError: a device is to hold a cookie; or the organization must be named, which is said only to who
            gave the right password.
        RateLimitedError: too many were tried in vain (`resolvers/throttle.py`), or too many wait already
            (`resolvers/services.py`); or the second step was answered wrong too often.
    """
    # Whoever's token came along, it is not them who acts: the password says who.
    intent = _intent_of(actor)
    try:
        if device_id is not None and delivery is Delivery.COOKIE:
            raise InvalidInputError("Expected tokens: a device keeps no cookie.", field=("input", "delivery"))
        index = await email_index_of(email)
        # Which account it was for, whether there is one or not: the same work, and no address.
        intent = replace(intent, entity=_ACCOUNT, subjects=[account_mark(index)])
        async with guessing(Guess(Guessing.PASSWORD, actor.origin, index)):
            user_id, proved = await _verify_password(services, index, password)
        intent = replace(intent, actor=replace(intent.actor, user_id=user_id))
        choice = await _choose(user_id, organization)
        having = await load_having(user_id)
        if having.has_second_factor:
            await _require_few_guesses(user_id)
    except Exception as error:
        await record_attempt(intent, error)
        raise
    device_key = None
    if device_id is not None:
        member = replace(
            intent.actor,
            organization_id=choice.organization_id,
            membership_id=choice.membership_id,
            device_id=device_id,
        )
        binding = for_sign_in(organization, email)
        device_key = await prove_device(services, member, device_id=device_id, proof=device_proof, binding=binding)
    opening = Opening(
        user_id,
        choice.organization_id,
        choice.membership_id,
        (Factor.PASSWORD,),
        device_id,
        device_key=device_key,
        delivery=delivery,
        name=client_name,
        account=index,
    )
    if having.has_second_factor:
        return await _ask_for_more(services, intent.actor, opening, having, proved=proved)
    return await open_session(services, intent.actor, opening, proved=proved)


async def complete_sign_in(
    services: Services,
    actor: Actor,
    *,
    challenge: str,
    answer: Answer,
    delivery: Delivery = Delivery.TOKENS,
    client_name: str | None = None,
) -> SignedIn:
    """Open the session that the right password was the first step to, if the answer proves the second factor.

    delivery, client_name: as in `sign_in`.

    Raises:
        UnauthenticatedError: the challenge is over, or the answer is wrong or was given before; or meanwhile they were
            suspended, or the device was blocked.
        InvalidInputError: not exactly one thing was answered.
        RateLimitedError: too many were tried in vain.
    """
    intent = _intent_of(actor)
    try:
        asked = await find(ChallengeKind.SIGN_IN, challenge)
        opening = _opening_of(asked)
        intent = replace(intent, actor=_inside(intent.actor, opening), entity=_ACCOUNT, subjects=[opening.user_id])
        account = await account_of(opening.user_id)
        # A passkey can't be guessed.
        guess = Guess(Guessing.SECOND_FACTOR, actor.origin, account if answer.passkey is None else None)
        async with guessing(guess):
            proof = await verify_answer(services, await load_having(opening.user_id), answer, nonce=asked.nonce)
            if proof is None:
                raise UnauthenticatedError(_NOT_PROVED)
    except UnauthenticatedError as error:
        await _note_wrong(services, ChallengeKind.SIGN_IN, challenge)
        await record_attempt(intent, error)
        raise
    except Exception as error:
        await record_attempt(intent, error)
        raise
    opening = replace(
        opening,
        factors=(*opening.factors, proof.factor),
        settle=_settling(ChallengeKind.SIGN_IN, challenge, proof),
        delivery=delivery,
        name=client_name,
        account=account,
    )
    return await _enter(services, intent.actor, opening, ChallengeKind.SIGN_IN, challenge)


async def begin_passkey_sign_in(services: Services, actor: Actor) -> PasskeyAsked:
    """Ask whichever passkey the browser finds to sign somebody in. Nobody is known yet, so nothing is in the trail.

    Raises:
        RateLimitedError: too many were asked for from there.
    """
    await count(Guess(Guessing.PASSKEY_REQUEST, actor.origin))
    await load_index_key(SYSTEM_ID)
    nonce, secret = new_nonce(), new_secret()
    async with write_transaction(Tenant()) as connection:
        expires_at = await ask(
            connection,
            ChallengeKind.PASSKEY_SIGN_IN,
            secret=secret,
            at=services.clock(),
            lifetime=TIME_TO_COMPLETE,
            about=About(nonce=nonce),
        )
    return PasskeyAsked(secret, assertion_options(services.relying_party, nonce=nonce), expires_at)


async def sign_in_with_passkey(
    services: Services,
    actor: Actor,
    *,
    challenge: str,
    passkey: str,
    organization: str | None = None,
    delivery: Delivery = Delivery.TOKENS,
    client_name: str | None = None,
) -> SignedIn:
    """Open a session of whose passkey it is.

    passkey: the JSON of a `PublicKeyCredential`. organization: the slug; needed only by people who belong to several.
    delivery, client_name: as in `sign_in`.

    Raises:
        UnauthenticatedError: the challenge is over; it is nobody's passkey, or signed something else, elsewhere, or
            without being unlocked; or they are suspended.
        InvalidInputError: the organization must be named. Said only to who has the passkey.
    """
    intent = _intent_of(actor)
    kind = ChallengeKind.PASSKEY_SIGN_IN
    try:
        asked = await find(kind, challenge)
        claim = claimed(passkey)
        if claim is None:
            raise UnauthenticatedError(_PASSKEY_REFUSED)
        having = await load_having(claim.user_id)
        proof = await verify_answer(services, having, Answer(passkey=passkey), nonce=asked.nonce)
        if proof is None:
            raise UnauthenticatedError(_PASSKEY_REFUSED)
        intent = replace(intent, actor=replace(intent.actor, user_id=claim.user_id))
        choice = await _choose(claim.user_id, organization, refused=_PASSKEY_REFUSED)
    except UnauthenticatedError as error:
        await _note_wrong(services, kind, challenge)
        await record_attempt(intent, error)
        raise
    except Exception as error:
        await record_attempt(intent, error)
        raise
    opening = Opening(
        claim.user_id,
        choice.organization_id,
        choice.membership_id,
        (proof.factor,),
        settle=_settling(kind, challenge, proof),
        delivery=delivery,
        name=client_name,
        account=await account_of(claim.user_id),
    )
    return await _enter(services, intent.actor, opening, kind, challenge)


def _intent_of(actor: Actor) -> Intent:
    return Intent(action=Action.SESSION_SIGN_IN, actor=replace(actor, organization_id=SYSTEM_ID, viewer=None))


def _inside(actor: Actor, opening: Opening) -> Actor:
    return replace(
        actor,
        organization_id=opening.organization_id,
        user_id=opening.user_id,
        membership_id=opening.membership_id,
        device_id=opening.device_id,
    )


async def _require_few_guesses(user_id: UUID) -> None:
    """Raise `RateLimitedError` where somebody who has the password guesses at the second factor."""
    wrong = await wrong_answers(ChallengeKind.SIGN_IN, user_id=user_id, within=timedelta(hours=1))
    if wrong >= MOST_WRONG_ANSWERS:
        raise RateLimitedError("Too many wrong answers to the second step. Try again in an hour.", retry_after_s=3600)


async def _ask_for_more(
    services: Services, actor: Actor, opening: Opening, having: Having, *, proved: ProvedPassword
) -> Challenged:
    """Ask for the second factor."""
    passkeys = having.of(AuthenticatorKind.PASSKEY)
    nonce, secret = new_nonce(), new_secret()
    about = About(
        user_id=opening.user_id,
        tenant_id=opening.organization_id,
        membership_id=opening.membership_id,
        device_id=opening.device_id,
        device_key=opening.device_key,
        nonce=nonce,
    )

    async def ask_it(change: Change) -> datetime:
        await hold_proved(change, opening.user_id, proved)
        kind = ChallengeKind.SIGN_IN
        return await ask(change.connection, kind, secret=secret, at=change.at, lifetime=TIME_TO_COMPLETE, about=about)

    intent = Intent(
        action=Action.SESSION_CHALLENGE,
        actor=_inside(actor, opening),
        entity=_ACCOUNT,
        subjects=[opening.user_id],
    )
    options = assertion_options(services.relying_party, nonce=nonce, passkeys=passkeys) if passkeys else None
    return Challenged(secret, having.methods, options, await commit_change(intent, ask_it))


def _opening_of(asked: Challenge) -> Opening:
    """Return what the right password was the first step to."""
    if asked.user_id is None or asked.tenant_id is None or asked.membership_id is None:
        raise LookupError("The challenge of a sign-in says whose it is.")
    return Opening(
        asked.user_id,
        asked.tenant_id,
        asked.membership_id,
        (Factor.PASSWORD,),
        asked.device_id,
        device_key=asked.device_key,
    )


def _settling(kind: ChallengeKind, challenge: str, proof: Proof) -> Callable[[Change], Awaitable[None]]:
    """Return what uses up the challenge and the proof, in the transaction in which the session opens."""

    async def settle(change: Change) -> None:
        asked = await take(change.connection, kind, challenge)
        actor = change.intent.actor
        # A moment has passed since the first step: they may have been sent away, or changed what signs them in.
        standing = await fetch(
            change.connection,
            "select 1 from membership m join organization o on o.id = m.organization_id"
            " join user_account u on u.id = m.user_id"
            " where m.organization_id = $1 and m.id = $2 and m.status = $3 and o.status = $4 and u.status = $5"
            " and (u.sessions_valid_from is null or u.sessions_valid_from <= $6)",
            actor.organization_id,
            actor.membership_id,
            MembershipStatus.ACTIVE,
            OrganizationStatus.ACTIVE,
            UserStatus.ACTIVE,
            asked.created_at,
        )
        if not standing:
            raise UnauthenticatedError(OVER)
        await proof.use(change.connection, at=change.at)
        await tell_used(change, proof, user_id=proof.authenticator.user_id)

    return settle


async def _enter(services: Services, actor: Actor, opening: Opening, kind: ChallengeKind, challenge: str) -> SignedIn:
    """Open the session; an answer that was given before counts as a wrong one."""
    try:
        return await open_session(services, actor, opening)
    except (SpentProofError, ClonedPasskeyError):
        await _note_wrong(services, kind, challenge)
        raise


async def _note_wrong(services: Services, kind: ChallengeKind, challenge: str) -> None:
    """Count a wrong answer; if it was the last that is taken, tell whose password was given."""
    whose = await note_wrong(kind, challenge)
    if whose is not None:
        await tell_unusual(services, whose)


async def _verify_password(services: Services, index: bytes, password: str) -> tuple[UUID, ProvedPassword]:
    """Return whose address and password these are, and what it was proved against."""
    async with OneStatement(Tenant(email_index=index)) as connection:
        row = await connection.fetchrow(
            "select id, password_hash, status from user_account where email_index = $1", index
        )
    encoded = row["password_hash"] if row else None
    try:
        verdict = await services.hashing.run(services.passwords.verify, encoded, password)
    except UnacceptablePasswordError as error:
        raise InvalidInputError(error.message, field=("input", "password")) from error
    if row is None or not verdict.ok or row["status"] != UserStatus.ACTIVE:
        raise UnauthenticatedError(_REFUSED)
    new_hash = await services.hashing.run(services.passwords.hash, password) if verdict.needs_rehash else None
    return row["id"], ProvedPassword(row["password_hash"], new_hash)


async def _choose(user_id: UUID, slug: str | None, *, refused: str = _REFUSED) -> _Choice:
    async with OneStatement(Tenant(user_id=user_id)) as connection:
        rows = await connection.fetch(
            "select m.organization_id, m.id, o.slug from membership m"
            " join organization o on o.id = m.organization_id join user_account u on u.id = m.user_id"
            " where m.user_id = $1 and m.status = $2 and o.status = $3 and u.status = $4 order by o.slug",
            user_id,
            MembershipStatus.ACTIVE,
            OrganizationStatus.ACTIVE,
            UserStatus.ACTIVE,
        )
    choices = [_Choice(row["organization_id"], row["id"], row["slug"]) for row in rows]
    if slug is not None:
        choices = [choice for choice in choices if choice.slug == slug.lower()]
    if not choices:
        raise UnauthenticatedError(refused)
    if len(choices) > 1:
        slugs = ", ".join(choice.slug for choice in choices)
        raise InvalidInputError(f"Expected one of your organizations: {slugs}.", field=("input", "organization"))
    return choices[0]
