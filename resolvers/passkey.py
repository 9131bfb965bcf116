"""Adding a passkey: one that is found by itself where it is kept, and that its owner unlocks (WebAuthn 2, 7.1)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import asyncpg

from auth.principal import SYSTEM_ID
from models.authenticator import Authenticator, AuthenticatorKind
from models.challenge import Challenge, ChallengeKind
from models.errors import ConflictError, InvalidInputError
from models.inventory import entity_of
from models.searching import load_index_key
from models.session import Factor
from resolvers.authenticator import (
    account_name,
    insert_authenticator,
    is_first_factor,
    lock_account,
    lock_factors,
    require_room,
    settle_added,
)
from resolvers.challenge import About, ask, new_secret, take_own
from resolvers.change import Change
from resolvers.checking import require_fit
from resolvers.passkey_proof import assertion_options, new_nonce, registration_options, verify_registration
from resolvers.second_factor import Proof, load_having
from resolvers.services import Services

TIME_TO_ANSWER: Final = timedelta(minutes=5)
"""As long as browsers wait for a finger."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a passkey is asked: the secret that names the question, and the options that the browser takes, in JSON."""

    token: str = field(repr=False)
    options: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Added:
    """A passkey that was added, and recovery codes if it is the first second factor."""

    authenticator_id: UUID
    recovery_codes: Sequence[str] | None = field(repr=False)


async def begin_passkey_registration(change: Change, services: Services) -> Asked:
    """Ask the viewer's browser to make a passkey, within five minutes and in this session.

    Raises:
        ForbiddenError: it is a program that asks.
        ConflictError: there are as many as may be.
    """
    account = await lock_factors(change)
    await require_room(change, account)
    nonce = new_nonce()
    having = await load_having(account.id)
    options = registration_options(
        services.relying_party,
        nonce=nonce,
        user_id=account.id,
        account=await account_name(account),
        passkeys=having.of(AuthenticatorKind.PASSKEY),
    )
    return await _ask(change, ChallengeKind.PASSKEY_REGISTRATION, nonce, options)


async def register_passkey(change: Change, services: Services, *, challenge: str, said: str, name: str | None) -> Added:
    """Add the passkey that the browser made.

    Raises:
        ForbiddenError: it is a program that asks.
        ConflictError: it was not asked for in this session, or too long ago; or it is somebody's already.
        InvalidInputError: it was made for something else, elsewhere, or without being unlocked.
    """
    account = await lock_factors(change)
    await require_room(change, account)
    asked = await take_own(change, ChallengeKind.PASSKEY_REGISTRATION, challenge)
    made = verify_registration(services.relying_party, said, nonce=_nonce_of(asked))
    if made is None:
        raise InvalidInputError("This passkey was not made as it was asked for.", field=("input", "passkey"))
    require_fit(entity_of(Authenticator), {"name": name}, at=("input",))
    is_first = await is_first_factor(change, account)
    try:
        row_id = await insert_authenticator(
            change,
            account,
            kind=AuthenticatorKind.PASSKEY,
            name=name,
            credential=made.credential,
            public_key=made.public_key,
            transports=list(made.transports),
            confirmed_at=change.at,
        )
    except asyncpg.UniqueViolationError as error:
        raise ConflictError("This passkey is registered already.", field=("input", "passkey")) from error
    row = await Authenticator.get(id=row_id, organization_id=change.organization_id, using_db=change.connection)
    await Proof(row, sign_count=made.sign_count).use(change.connection, at=change.at)
    return Added(row_id, await settle_added(change, account, Factor.PASSKEY, is_first=is_first))


async def begin_passkey_proof(change: Change, services: Services) -> Asked:
    """Ask one of the viewer's passkeys to prove anew who they are, in this session.

    Raises:
        ForbiddenError: it is a program that asks.
        ConflictError: they have none.
    """
    account = await lock_account(change)
    having = await load_having(account.id)
    passkeys = having.of(AuthenticatorKind.PASSKEY)
    if not passkeys:
        raise ConflictError("You have no passkey. Prove it by your password.")
    nonce = new_nonce()
    options = assertion_options(services.relying_party, nonce=nonce, passkeys=passkeys)
    return await _ask(change, ChallengeKind.PASSKEY_PROOF, nonce, options)


async def _ask(change: Change, kind: ChallengeKind, nonce: bytes, options: str) -> Asked:
    await load_index_key(SYSTEM_ID)
    viewer, secret = change.viewer, new_secret()
    about = About(
        user_id=viewer.user_id,
        tenant_id=viewer.organization_id,
        membership_id=viewer.membership_id,
        session_id=viewer.session_id,
        nonce=nonce,
    )
    expires_at = await ask(change.connection, kind, secret=secret, at=change.at, lifetime=TIME_TO_ANSWER, about=about)
    return Asked(secret, options, expires_at)


def _nonce_of(asked: Challenge) -> bytes:
    if asked.nonce is None:
        raise LookupError("A passkey's challenge has a nonce.")
    return asked.nonce
