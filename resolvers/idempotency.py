"""Doing a mutation once, however often it is sent: by the key that a client gives to its request.

What a mutation did is written down in its own transaction, under a digest of the key and of who sent it: either both
are there or neither. Sent again, the mutation is not done again, and its answer shows the same row as its viewer may
read it now. What was refused did nothing, and leaves the key free. A key is good for one operation with one set of
variables, and for a day.

Standard: draft-ietf-httpapi-idempotency-key-header-07. A request whose key is in use at that moment is refused there,
and so it is here: nothing waits.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import orjson
from tortoise.backends.base.client import BaseDBAsyncClient

from auth.principal import SYSTEM_ID, Viewer
from models.errors import ConflictError, InvalidInputError
from models.idempotency_key import IdempotencyKey
from models.inventory import entity_of
from models.reading import OneStatement
from models.searching import keyed_digest, load_index_key
from models.transaction import Tenant, fetch, raw_write_transaction

LIFETIME: Final = timedelta(days=1)
"""For how long a key counts, from its first use. The job that forgets may come later; a key that is older is as new."""
LONGEST_KEY: Final = 255
"""Characters of a key."""

Kept = Mapping[str, Any]
"""What is kept of a mutation's answer."""

_PURPOSE: Final = "idempotency_key"
_QUOTED: Final = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
"""A string of structured fields (RFC 9651, 3.3.3), which is what the draft asks for."""
_BARE: Final = re.compile(r"[!#-+\--:<-\[\]-~]+")
"""The same without its quotes, as many clients send it: no blank, no comma, no semicolon."""

_TABLE: Final = entity_of(IdempotencyKey).name
_IS_OVER: Final = "created_at < clock_timestamp() - $4::interval"
_LOOK: Final = f"""
    select content_digest, answers::text as answers from {_TABLE}
    where organization_id = $1 and id = $2 and created_at >= clock_timestamp() - $3::interval
"""
# Locks the row, which is there in any case. One that is over begins anew.
_TAKE: Final = f"""
    insert into {_TABLE} as k (organization_id, id, content_digest, created_at, answers)
    values ($1, $2, $3, clock_timestamp(), '{{}}')
    on conflict (organization_id, id) do update set
      content_digest = case when k.{_IS_OVER} then excluded.content_digest else k.content_digest end,
      answers = case when k.{_IS_OVER} then '{{}}' else k.answers end,
      created_at = case when k.{_IS_OVER} then excluded.created_at else k.created_at end
    returning content_digest, answers::text as answers
"""
_KEEP: Final = f"""
    update {_TABLE} set answers = answers || jsonb_build_object($3::text, $4::text::jsonb)
    where organization_id = $1 and id = $2
"""


class OtherContentError(ConflictError):
    """The key was used for something else."""

    noted = detail = "IDEMPOTENCY_KEY_REUSED"


class InProgressError(ConflictError):
    """A request with the key is being worked on."""

    noted = detail = "IDEMPOTENCY_KEY_IN_USE"


class ShownOnceError(ConflictError):
    """A secret was in the first answer to the request, and is kept nowhere."""

    noted = detail = "SHOWN_ONCE"


class DoneBeforeError(Exception):
    """The mutation was done before: what is begun is rolled back, and nothing is noted of it."""

    def __init__(self, kept: Kept) -> None:
        super().__init__("Done before.")
        self.kept = kept


def key_of(said: str, *, at: str = "Idempotency-Key") -> str:
    """Return the key that a header holds, with or without the quotes that the draft asks for.

    at: where it was said, if not in the header.

    Raises:
        InvalidInputError: it is no key, more than one, or longer than `LONGEST_KEY`.
    """
    text = said.strip(" \t")
    quoted = _QUOTED.fullmatch(text)
    bare = text if _BARE.fullmatch(text) else ""
    key = bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted[1])
    if not 0 < len(key) <= LONGEST_KEY:
        raise InvalidInputError(f"{at}: expected one string of 1 to {LONGEST_KEY} visible characters, such as a UUID.")
    return key


@dataclass(frozen=True, slots=True)
class Once:
    """An operation that is done once, by its key.

    id: the digest of the key and of who sent it. content: the digest of what is asked for.
    """

    organization_id: UUID
    id: UUID
    content: bytes = field(repr=False)

    @classmethod
    async def of(cls, viewer: Viewer, key: str, *, text: str, name: str | None, variables: Mapping[str, Any]) -> "Once":
        """Return the operation under the viewer's key.

        text, name, variables: the operation as it was sent, the operation in it, and what it is given.

        Raises:
            UnavailableError: the keystore or the key provider is away.
        """
        await load_index_key(SYSTEM_ID)
        whose = viewer.organization_id.bytes + viewer.principal_id.bytes
        digest = keyed_digest(_PURPOSE, whose + key.encode())
        asked = json.dumps([key, text, name, variables], sort_keys=True, separators=(",", ":"))
        return cls(viewer.organization_id, UUID(bytes=digest[:16]), keyed_digest(f"{_PURPOSE}/content", asked.encode()))

    async def done(self, name: str) -> Kept | None:
        """Return what is kept of a mutation, by its name in the answer, if it was done before.

        Raises:
            OtherContentError: the key was used for something else.
            UnavailableError: the database is away.
        """
        async with OneStatement(Tenant(organization_id=self.organization_id)) as connection:
            row = await connection.fetchrow(_LOOK, self.organization_id, self.id, LIFETIME)
        return None if row is None else self._kept(row["content_digest"], row["answers"], name)

    async def take(self, connection: BaseDBAsyncClient, name: str) -> None:
        """Hold the key until the transaction ends, for a mutation that is about to be done in it.

        Raises:
            DoneBeforeError: it was done before.
            OtherContentError: the key was used for something else.
            InProgressError: another transaction holds the key.
        """
        (lock,) = await fetch(
            connection,
            "select pg_try_advisory_xact_lock(hashtextextended($1, 0)) as is_ours",
            f"{_PURPOSE} {self.organization_id} {self.id}",
        )
        if not lock["is_ours"]:
            raise InProgressError("A request with this Idempotency-Key is being worked on. Send it again in a moment.")
        (row,) = await fetch(connection, _TAKE, self.organization_id, self.id, self.content, LIFETIME)
        kept = self._kept(row["content_digest"], row["answers"], name)
        if kept is not None:
            raise DoneBeforeError(kept)

    async def keep(self, connection: BaseDBAsyncClient, name: str, kept: Kept) -> None:
        """Write down what a mutation did, in its transaction, after `take`."""
        await fetch(connection, _KEEP, self.organization_id, self.id, name, orjson.dumps(kept).decode())

    def _kept(self, content: bytes, answers: str, name: str) -> Kept | None:
        if bytes(content) != self.content:
            raise OtherContentError(
                "This Idempotency-Key was used for something else. Give each operation a key of its own."
            )
        kept: Kept | None = orjson.loads(answers).get(name)
        return kept


async def forget_keys() -> int:
    """Forget keys that are over; return how many. Raises `UnavailableError`."""
    async with raw_write_transaction(Tenant()) as connection:
        return int(await connection.fetchval("select fieldward_forget_keys()"))
