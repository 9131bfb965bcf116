"""Slowing down who guesses, on every process alike, and nobody else.

    async with guessing(Guess(Guessing.PASSWORD, actor.origin, account)):
        …find out whether the guess is right; raise if it is not…

A guess is counted as a failure before the block runs, by one upsert in a transaction of its own, so that guesses made
at the same time each count; where the block ends well, that is taken back. What stays counted are the failures. A few
are free, then each makes the next wait longer, up to a bound, and one is forgotten every so often. Who is told to wait
gets `ThrottledError` and no work is done for them: the same for an account that there is and one that there is not.

It counts, each by itself, by account and network together, by network (IPv4: the address; IPv6: the /64, which is one
line's), and by account. By account the wait stays short, or whoever guesses could shut its owner out. And a client from
which somebody once signed in fully is known by a token (`known_client_token`): its guesses at that account are counted
for that client alone, and nobody else's failures hold it up. Passkeys can't be guessed: they name no account here.

To be used outside of transactions, and inside of what writes the attempt that a refusal is (`record_attempt`). Counts
are kept under keyed digests, which name nobody, and forgotten by `forget`.

After OWASP, "Slow down online guessing attacks with device cookies", and NIST SP 800-63B-4, section 3.2.2.
"""

import base64
import binascii
import hmac
import math
import re
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final
from uuid import UUID

from auth.errors import Code, FieldwardError, ThrottledError
from auth.principal import SYSTEM_ID, Origin
from models.reading import OneStatement
from models.searching import keyed_digest, load_index_key
from models.transaction import Tenant, raw_write_transaction


class Guessing(StrEnum):
    """What is guessed. Each is counted by itself."""

    PASSWORD = "PASSWORD"  # noqa: S105
    SECOND_FACTOR = "SECOND_FACTOR"
    PASSKEY_REQUEST = "PASSKEY_REQUEST"
    RESET_REQUEST = "RESET_REQUEST"
    RESET_TOKEN = "RESET_TOKEN"  # noqa: S105
    ENROLMENT_CODE = "ENROLMENT_CODE"
    INVITATION_TOKEN = "INVITATION_TOKEN"  # noqa: S105
    ERASURE_TOKEN = "ERASURE_TOKEN"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Guess:
    """A guess that is about to be tried.

    origin: where it comes from, and the token of a known client if it brought one.
    account: whose account it is tried at, by what every guess at it names: of a person the blind index of the address,
        whether there is an account or not (`resolvers/account_index.py: email_index_of`; of a person who is known
        already `account_of`). None where the guess names none: a token, a code.
    """

    kind: Guessing
    origin: Origin
    account: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast something may be tried in vain.

    free: failures that delay nothing. The one after them delays by `first_s`, each more by twice as much, up to
    `longest_s`. One failure is forgotten for each `forgotten_s` that pass after the last.
    """

    free: int
    first_s: float
    longest_s: float
    forgotten_s: float


@dataclass(frozen=True, slots=True)
class Paces:
    """By account and network, or by account and known client; by network; by account."""

    pair: Pace
    network: Pace
    account: Pace


_USUAL: Final = Paces(
    pair=Pace(free=10, first_s=1, longest_s=900, forgotten_s=1800),
    # Behind one address there may be an office, in which people mistype.
    network=Pace(free=100, first_s=1, longest_s=300, forgotten_s=30),
    account=Pace(free=50, first_s=1, longest_s=15, forgotten_s=300),
)
_PACES: Final = {
    # Six digits, and whoever gets here knows the password: slower.
    Guessing.SECOND_FACTOR: Paces(
        pair=_USUAL.pair, network=_USUAL.network, account=Pace(free=10, first_s=1, longest_s=300, forgotten_s=3600)
    ),
    # Each leaves a row for a day; a page asks for one when it is opened.
    Guessing.PASSKEY_REQUEST: Paces(
        pair=_USUAL.pair, network=Pace(free=200, first_s=1, longest_s=60, forgotten_s=5), account=_USUAL.account
    ),
    # Each is a mail to somebody.
    Guessing.RESET_REQUEST: Paces(
        pair=Pace(free=3, first_s=30, longest_s=3600, forgotten_s=3600),
        network=Pace(free=30, first_s=1, longest_s=300, forgotten_s=60),
        account=Pace(free=6, first_s=30, longest_s=600, forgotten_s=1800),
    ),
    # Short, and named by no account.
    Guessing.ENROLMENT_CODE: Paces(
        pair=_USUAL.pair,
        network=Pace(free=20, first_s=1, longest_s=600, forgotten_s=300),
        account=_USUAL.account,
    ),
}

_NOT_TRIED: Final = frozenset({Code.UNAVAILABLE, Code.RATE_LIMITED})
"""What ends a guess before it was compared with anything."""
_TOO_MANY: Final = "Too many tries in vain. Wait, then try again."

# What is left of the failures before this one. Forgetting goes on while others count: `failed_at` moves by as much as
# was forgotten, or the failures of a network that is never quiet would stay for good.
_LEFT: Final = (
    "greatest(0, t.failures - floor(extract(epoch from clock_timestamp() - t.failed_at) / $5::float8))::integer"
)
_COUNT: Final = f"""
insert into throttle as t (id, failures, failed_at, free_at)
values ($1, 1, clock_timestamp(), clock_timestamp())
on conflict (id) do update set
  failures = {_LEFT} + 1,
  failed_at = case when {_LEFT} = 0 then clock_timestamp()
    else t.failed_at + (t.failures - {_LEFT}) * interval '1 second' * $5::float8 end,
  free_at = clock_timestamp() + interval '1 second' * case when {_LEFT} < $2::integer then 0
    else least($4::float8, $3::float8 * 2 ^ least({_LEFT} - $2::integer, 30)) end
where t.free_at <= clock_timestamp()
returning free_at
"""
_WAIT: Final = "select extract(epoch from max(free_at) - clock_timestamp())::float8 from throttle where id = any($1)"
_TAKE_BACK: Final = """
update throttle set
  failures = case when $3 then 0 else greatest(failures - 1, 0) end,
  free_at = case when $3 or free_at = $2 then clock_timestamp() else free_at end
where id = $1
"""


@dataclass(frozen=True, slots=True)
class _Bucket:
    """Something that failures are counted by. is_reset: a success shows that the failures before were its owner's."""

    id: UUID
    pace: Pace
    is_reset: bool = False


@dataclass(frozen=True, slots=True)
class _Counted:
    """What was counted. free_at: what it set, by which it is known whether another was counted since."""

    bucket: _Bucket
    free_at: datetime


@asynccontextmanager
async def guessing(guess: Guess) -> AsyncIterator[None]:
    """Run the block, which raises where the guess is wrong, unless too many were before. See above.

    The guess stays counted where the block raises anything but that the database is away, or that too much waits.

    Raises:
        ThrottledError: too many. The block has not run; `retry_after_s` says when it may be tried again.
        UnavailableError: the database or the keystore is away. The block has not run.
    """
    counted = await _count(await _buckets_of(guess))
    try:
        yield
    except FieldwardError as error:
        if error.code in _NOT_TRIED:
            await _take_back(counted, is_right=False)
        raise
    await _take_back(counted, is_right=True)


async def count(guess: Guess) -> None:
    """Count what is no guess and yet is not done without end, such as mails on request. It is not taken back.

    Raises:
        ThrottledError: too many; see `guessing`.
        UnavailableError: the database or the keystore is away.
    """
    await _count(await _buckets_of(guess))


async def account_of(user_id: UUID) -> bytes:
    """Return by what guesses at a person's account are counted. Raises `UnavailableError`."""
    async with OneStatement(Tenant(user_id=user_id)) as connection:
        index = await connection.fetchval("select email_index from user_account where id = $1", user_id)
    return bytes(index) if index is not None else user_id.bytes


async def forget() -> int:
    """Forget failures and challenges that were over a day ago; return how many. Raises `UnavailableError`."""
    async with raw_write_transaction(Tenant()) as connection:
        return int(await connection.fetchval("select fieldward_forget()"))


# ------------------------------------------------------------------ known clients

CLIENT_LIFETIME: Final = timedelta(days=180)
"""For how long a client is known after the last full sign-in."""
_CLIENT: Final = re.compile("fwc_[A-Za-z0-9_-]{72}")
_CLIENT_ID_BYTES: Final = 16
_TIME_BYTES: Final = 6


async def known_client_token(account: bytes, *, now: datetime) -> str:
    """Return a token by which a client is known at the account: `fwc_` and 72 characters, bound to both.

    It opens nothing.

    Raises:
        UnavailableError: the keystore or the key provider is away.
    """
    await load_index_key(SYSTEM_ID)
    body = secrets.token_bytes(_CLIENT_ID_BYTES) + int(now.timestamp()).to_bytes(_TIME_BYTES)
    return "fwc_" + base64.urlsafe_b64encode(body + _client_mac(body, account)).decode()


def _known_client(token: str | None, account: bytes) -> bytes | None:
    """Return the id of the client that brought the token, if it is one of ours for this account, and not too old."""
    if token is None or _CLIENT.fullmatch(token) is None:
        return None
    try:
        data = base64.urlsafe_b64decode(token.removeprefix("fwc_"))
    except binascii.Error:
        return None
    body, mac = data[: _CLIENT_ID_BYTES + _TIME_BYTES], data[_CLIENT_ID_BYTES + _TIME_BYTES :]
    is_ours = hmac.compare_digest(mac, _client_mac(body, account))
    is_new = time.time() < int.from_bytes(body[_CLIENT_ID_BYTES:]) + CLIENT_LIFETIME.total_seconds()
    return body if is_ours and is_new else None


def _client_mac(body: bytes, account: bytes) -> bytes:
    return keyed_digest("known_client", body + account)


# ------------------------------------------------------------------ counting


async def _buckets_of(guess: Guess) -> Sequence[_Bucket]:
    """Return what the guess is counted by. The order is that of their ids: who counts the same waits for each other."""
    await load_index_key(SYSTEM_ID)
    paces = _PACES.get(guess.kind, _USUAL)
    network = network_of(guess.origin.ip_address)
    if guess.account is None:
        return [_Bucket(_key(guess.kind, "network", network), paces.network)]
    client = _known_client(guess.origin.client_token, guess.account)
    if client is not None:
        return [_Bucket(_key(guess.kind, "client", guess.account, client), paces.pair, is_reset=True)]
    buckets = [
        _Bucket(_key(guess.kind, "pair", guess.account, network), paces.pair, is_reset=True),
        _Bucket(_key(guess.kind, "network", network), paces.network),
        _Bucket(_key(guess.kind, "account", guess.account), paces.account),
    ]
    return sorted(buckets, key=lambda bucket: bucket.id)


async def _count(buckets: Sequence[_Bucket]) -> Sequence[_Counted]:
    """Count in all of the buckets, or in none. Raises `ThrottledError` where one of them is not free."""
    counted = []
    async with raw_write_transaction(Tenant()) as connection:
        for bucket in buckets:
            pace = bucket.pace
            free_at = await connection.fetchval(
                _COUNT, bucket.id, pace.free, pace.first_s, pace.longest_s, pace.forgotten_s
            )
            if free_at is None:
                wait_s = await connection.fetchval(_WAIT, [one.id for one in buckets])
                raise ThrottledError(_TOO_MANY, retry_after_s=max(1, math.ceil(wait_s or 0)))
            counted.append(_Counted(bucket, free_at))
    return counted


async def _take_back(counted: Sequence[_Counted], *, is_right: bool) -> None:
    async with raw_write_transaction(Tenant()) as connection:
        for one in counted:
            is_reset = is_right and one.bucket.is_reset
            await connection.execute(_TAKE_BACK, one.bucket.id, one.free_at, is_reset)


def network_of(address: str | None) -> bytes:
    """Return what guesses from an address are counted by: an IPv4 address, or the /64 of an IPv6 one."""
    try:
        parsed = ip_address((address or "").partition("%")[0])
    except ValueError:
        return b""
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return parsed.ipv4_mapped.packed
        return ip_network((parsed, 64), strict=False).network_address.packed[:8]
    return parsed.packed


def _key(kind: Guessing, by: str, *parts: bytes) -> UUID:
    named = b"".join(len(part).to_bytes(2) + part for part in parts)
    return UUID(bytes=keyed_digest(f"throttle/{kind}/{by}", named)[:16])
