"""Asking something that is answered once: who has the secret of a challenge, and is in time, may go on.

The secret goes to the person, or into a link; what is stored is its keyed digest, by which row-level security shows the
row to who has the secret. A challenge that was answered, or guessed at too often, is as one that never was.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg
from tortoise.backends.base.client import BaseDBAsyncClient

from auth.errors import UnauthenticatedError
from auth.principal import SYSTEM_ID
from models.base import new_id
from models.challenge import Challenge, ChallengeKind
from models.errors import ConflictError
from models.inventory import entity_of
from models.reading import OneStatement
from models.searching import keyed_digest, load_index_key
from models.transaction import Tenant, fetch, raw_write_transaction, seeing_as
from resolvers.change import Change

SECRET_BYTES: Final = 32
MOST_ATTEMPTS: Final = 5
"""Wrong answers to one challenge; the last of them ends it."""
OVER: Final = "This is not valid any more. Begin again."

_TABLE: Final = entity_of(Challenge).name
_OPEN: Final = "answered_at is null and expires_at > clock_timestamp()"


@dataclass(frozen=True, slots=True)
class About:
    """What a challenge was chosen for, as far as it is known when it is asked."""

    user_id: UUID | None = None
    tenant_id: UUID | None = None
    membership_id: UUID | None = None
    device_id: UUID | None = None
    device_key: str | None = None
    session_id: UUID | None = None
    nonce: bytes | None = None


def new_secret() -> str:
    """Return a fresh secret: 256 random bits, as 43 characters that a link can hold."""
    return secrets.token_urlsafe(SECRET_BYTES)


async def ask(
    connection: BaseDBAsyncClient,
    kind: ChallengeKind,
    *,
    secret: str,
    at: datetime,
    lifetime: timedelta,
    about: About = About(),
) -> datetime:
    """Write a challenge inside a transaction, and return when it is over. `load_index_key(SYSTEM_ID)` was awaited."""
    digest = await _show(connection, kind, secret)
    expires_at = at + lifetime
    await Challenge.create(
        using_db=connection,
        id=new_id(),
        kind=kind,
        digest=digest,
        user_id=about.user_id,
        tenant_id=about.tenant_id,
        membership_id=about.membership_id,
        device_id=about.device_id,
        device_key=about.device_key,
        session_id=about.session_id,
        nonce=about.nonce,
        created_at=at,
        expires_at=expires_at,
    )
    return expires_at


async def find(kind: ChallengeKind, secret: str) -> Challenge:
    """Return a challenge that is open, without answering it.

    Raises:
        UnauthenticatedError: there is none with this secret, or it is over.
    """
    await load_index_key(SYSTEM_ID)
    digest = digest_of(kind, secret)
    async with OneStatement(Tenant(challenge=digest)) as connection:
        row = await connection.fetchrow(
            f'select * from "{_TABLE}" where digest = $1 and kind = $2 and {_OPEN}', digest, kind
        )
    return _challenge(row)


async def take(connection: BaseDBAsyncClient, kind: ChallengeKind, secret: str) -> Challenge:
    """Return an open challenge inside a transaction, and have it answered when that commits: nobody else takes it.

    Raises:
        UnauthenticatedError: there is none with this secret, or it is over, or was answered before.
    """
    digest = await _show(connection, kind, secret)
    rows = await fetch(
        connection,
        f'update "{_TABLE}" set answered_at = clock_timestamp()'
        f" where digest = $1 and kind = $2 and {_OPEN} returning *",
        digest,
        kind,
    )
    return _challenge(rows[0] if rows else None)


async def take_own(change: Change, kind: ChallengeKind, secret: str) -> Challenge:
    """Return an open challenge as `take` does, if it was asked in the very session that answers it.

    Raises:
        ConflictError: there is none with this secret for this session, or it is over, or was answered before.
    """
    await load_index_key(SYSTEM_ID)
    try:
        challenge = await take(change.connection, kind, secret)
    except UnauthenticatedError as error:
        # Who asks is signed in all the same.
        raise ConflictError(OVER, field=("input", "challenge")) from error
    if change.viewer.session_id is None or challenge.session_id != change.viewer.session_id:
        raise ConflictError(OVER, field=("input", "challenge"))
    return challenge


async def note_wrong(kind: ChallengeKind, secret: str) -> UUID | None:
    """Count a wrong answer, in a transaction of its own; the last that may be ends the challenge.

    Returns whose challenge ended by it; None if none did, or if it was nobody's yet.
    """
    await load_index_key(SYSTEM_ID)
    digest = digest_of(kind, secret)
    async with raw_write_transaction(Tenant(challenge=digest)) as connection:
        ended: UUID | None = await connection.fetchval(
            f'update "{_TABLE}" set attempts = attempts + 1,'
            " answered_at = case when attempts + 1 >= $3 then clock_timestamp() end"
            f" where digest = $1 and kind = $2 and {_OPEN} returning case when attempts >= $3 then user_id end",
            digest,
            kind,
            MOST_ATTEMPTS,
        )
    return ended


async def wrong_answers(kind: ChallengeKind, *, user_id: UUID, within: timedelta) -> int:
    """Return how many wrong answers there were to challenges of a person's that were asked within so long."""
    async with OneStatement(Tenant(user_id=user_id)) as connection:
        found = await connection.fetchval(
            f'select coalesce(sum(attempts), 0) from "{_TABLE}"'
            " where user_id = $1 and kind = $2 and created_at > clock_timestamp() - $3::interval",
            user_id,
            kind,
            within,
        )
    return int(found)


async def spend(kind: ChallengeKind, secret: str, *, at: datetime, lifetime: timedelta) -> bool:
    """Note that something was used which is good once, in a transaction of its own; False if it was used before.

    lifetime: for how long it would have been good.
    """
    await load_index_key(SYSTEM_ID)
    digest = digest_of(kind, secret)
    async with raw_write_transaction(Tenant(challenge=digest)) as connection:
        spent = await connection.fetchval(
            f'insert into "{_TABLE}" (id, kind, digest, attempts, created_at, expires_at, answered_at)'
            " values ($1, $2, $3, 0, $4, $5, $4) on conflict (digest) do nothing returning id",
            new_id(),
            kind,
            digest,
            at,
            at + lifetime,
        )
    return spent is not None


async def withdraw(
    connection: BaseDBAsyncClient, kind: ChallengeKind, *, user_id: UUID, device_id: UUID | None = None
) -> None:
    """End all open challenges of a kind that are a person's: their newest is to count alone.

    device_id: only those that were chosen for this device.
    """
    async with seeing_as(connection, user_id):
        await fetch(
            connection,
            f'update "{_TABLE}" set answered_at = clock_timestamp()'
            f" where user_id = $1 and kind = $2 and ($3::uuid is null or device_id = $3) and {_OPEN}",
            user_id,
            kind,
            device_id,
        )


def digest_of(kind: ChallengeKind, secret: str) -> bytes:
    """Return what is stored of a secret. The installation's index key is in memory."""
    return keyed_digest(f"challenge {kind}", secret.encode("utf-8", "replace"))


async def _show(connection: BaseDBAsyncClient, kind: ChallengeKind, secret: str) -> bytes:
    """Have row-level security show the secret's challenge in this transaction, and return its digest."""
    digest = digest_of(kind, secret)
    await fetch(connection, "select set_config('fieldward.challenge', $1, true)", digest.hex())
    return digest


def _challenge(row: asyncpg.Record | dict[str, Any] | None) -> Challenge:
    if row is None:
        raise UnauthenticatedError(OVER)
    return Challenge(**dict(row))
