"""What somebody has beside a password, and whether an answer proves that they have it. No answer proves it twice.

Whose it is was found out before. Checking an answer changes nothing: what came of it is a `Proof`, which is used up in
the transaction that it is good for, by one statement that no other process gets past.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from auth.errors import ClonedPasskeyError, UnauthenticatedError
from auth.principal import SYSTEM_ID
from auth.recovery_code import normal_recovery_code
from auth.totp import matching_step
from models.authenticator import Authenticator, AuthenticatorKind, AuthenticatorUse
from models.encryption.envelope import key_id_of
from models.encryption.keyring import active_keyring
from models.errors import InvalidInputError
from models.inventory import entity_of
from models.reading import OneStatement
from models.searching import keyed_digest, load_index_key
from models.session import Factor
from models.transaction import Tenant, fetch
from resolvers.passkey_proof import verify_assertion
from resolvers.services import Services

CLONED: Final = "This passkey was used elsewhere meanwhile: there are two of it. Remove it, and add a new one."

_TABLE: Final = entity_of(Authenticator).name
_USES: Final = entity_of(AuthenticatorUse).name
# Of recovery codes the newest ten count, in whichever organization they were made, and of these the ones not used.
_COUNTING: Final = (
    f'select a.* from "{_TABLE}" a where a.user_id = $1 and a.confirmed_at is not null and (a.kind <> $2 or ('
    f' a.created_at = (select max(n.created_at) from "{_TABLE}" n where n.user_id = $1 and n.kind = $2)'
    f' and not exists (select 1 from "{_USES}" u where u.organization_id = a.organization_id and u.id = a.id)))'
    " order by a.created_at, a.id"
)
# What was removed meanwhile is used no more, so it is held until the transaction ends.
_USE: Final = (
    f'insert into "{_USES}" (id, organization_id, created_at, user_id, step, sign_count, used_at)'
    f' select a.id, a.organization_id, $3, a.user_id, $4, $5, $3 from "{_TABLE}" a'
    "  where a.organization_id = $1 and a.id = $2 for key share"
    " on conflict (organization_id, id) do update"
    " set step = excluded.step, sign_count = excluded.sign_count, used_at = excluded.used_at"
    " where {further} returning id"
)
_FURTHER: Final = {
    AuthenticatorKind.TOTP: f"{_USES}.step is null or {_USES}.step < excluded.step",
    # Passkeys that are kept in several places count nothing, and say 0 for good (WebAuthn 2, 6.1.1).
    AuthenticatorKind.PASSKEY: (
        f"coalesce({_USES}.sign_count, 0) < excluded.sign_count"
        f" or (coalesce({_USES}.sign_count, 0) = 0 and excluded.sign_count = 0)"
    ),
    AuthenticatorKind.RECOVERY_CODE: "false",
}


class SpentProofError(UnauthenticatedError):
    """An answer was right, and has been used before."""

    noted = "PROOF_REUSED"


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered: exactly one of these. `passkey` is the JSON of a `PublicKeyCredential`."""

    totp: str | None = field(default=None, repr=False)
    recovery_code: str | None = field(default=None, repr=False)
    passkey: str | None = field(default=None, repr=False)

    @property
    def is_one(self) -> bool:
        """Whether exactly one thing was answered."""
        return [self.totp, self.recovery_code, self.passkey].count(None) == 2


@dataclass(frozen=True, slots=True)
class Having:
    """What somebody has confirmed, and can still use."""

    user_id: UUID
    all: Sequence[Authenticator]

    def of(self, kind: AuthenticatorKind) -> Sequence[Authenticator]:
        """Return those of a kind."""
        return [one for one in self.all if one.kind is kind]

    @property
    def has_second_factor(self) -> bool:
        """Whether there is a second factor. Recovery codes stand in for one, and are none."""
        return any(one.kind is not AuthenticatorKind.RECOVERY_CODE for one in self.all)

    @property
    def methods(self) -> Sequence[Factor]:
        """By what it can be proved, as it is shown to who has to."""
        kinds = {one.kind for one in self.all}
        return [Factor(kind.value) for kind in AuthenticatorKind if kind in kinds]


@dataclass(frozen=True, slots=True)
class Proof:
    """That somebody has an authenticator: by the code of a step, by a passkey's count, or by a code for once."""

    authenticator: Authenticator
    step: int | None = None
    sign_count: int | None = None

    @property
    def factor(self) -> Factor:
        """What was proved."""
        return Factor(self.authenticator.kind.value)

    async def use(self, connection: BaseDBAsyncClient, *, at: datetime) -> None:
        """Use it up, in a transaction in which row-level security knows whose it is.

        Raises:
            SpentProofError: it was used before, by whomever; or the authenticator was removed.
            ClonedPasskeyError: a passkey's count did not go on.
        """
        kind = self.authenticator.kind
        used = await fetch(
            connection,
            _USE.replace("{further}", _FURTHER[kind]),
            self.authenticator.organization_id,
            self.authenticator.id,
            at,
            self.step,
            self.sign_count,
        )
        if used:
            return
        if kind is AuthenticatorKind.PASSKEY:
            raise ClonedPasskeyError(CLONED)
        raise SpentProofError("This code was used before. Wait for the next one, or take another.")


async def load_having(user_id: UUID) -> Having:
    """Return what somebody can prove beside their password, in whichever organization it was added.

    Raises:
        UnavailableError: the database is away.
    """
    async with OneStatement(Tenant(user_id=user_id)) as connection:
        rows = await connection.fetch(_COUNTING, user_id, AuthenticatorKind.RECOVERY_CODE)
    return Having(user_id, [Authenticator._init_from_db(**dict(row)) for row in rows])


async def verify_answer(services: Services, having: Having, answer: Answer, *, nonce: bytes | None) -> Proof | None:
    """Return what the answer proves; None if it is wrong.

    nonce: what a passkey was to sign; None where none was asked for.

    Raises:
        InvalidInputError: not exactly one thing was answered.
        UnavailableError: the keystore or the key provider is away.
    """
    if not answer.is_one:
        raise InvalidInputError("Expected one of totp, recoveryCode and passkey.", field=("input",))
    if answer.totp is not None:
        return await _verify_totp(services, having, answer.totp)
    if answer.recovery_code is not None:
        return await _verify_recovery_code(having, answer.recovery_code)
    if answer.passkey is None or nonce is None:
        return None
    asserted = verify_assertion(
        services.relying_party, answer.passkey, nonce=nonce, passkeys=having.of(AuthenticatorKind.PASSKEY)
    )
    return None if asserted is None else Proof(asserted.authenticator, sign_count=asserted.sign_count)


async def recovery_code_digest(user_id: UUID, code: str) -> bytes:
    """Return what is stored of a recovery code, in its normal form."""
    await load_index_key(SYSTEM_ID)
    return keyed_digest("recovery code", user_id.bytes + code.encode())


async def totp_secret(authenticator: Authenticator) -> str:
    """Return the secret of an app that shows codes.

    Raises:
        UnavailableError: the keystore or the key provider is away.
    """
    stored = vars(authenticator)["secret"]
    await active_keyring().load_ids([key_id_of(stored.blob)])
    return str(authenticator.secret)


async def _verify_totp(services: Services, having: Having, code: str) -> Proof | None:
    found = None
    for app in having.of(AuthenticatorKind.TOTP):
        step = matching_step(await totp_secret(app), code, at=services.clock())
        if step is not None:
            found = Proof(app, step=step)
    return found


async def _verify_recovery_code(having: Having, typed: str) -> Proof | None:
    code = normal_recovery_code(typed)
    if code is None:
        return None
    digest = await recovery_code_digest(having.user_id, code)
    found = None
    for one in having.of(AuthenticatorKind.RECOVERY_CODE):
        if one.digest is not None and hmac.compare_digest(one.digest, digest):
            found = Proof(one)
    return found
