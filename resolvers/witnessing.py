"""Asking witnesses: others who saw each head, and say that the log had only grown (C2SP tlog-witness).

A witness is asked with a proof that the log grew from the head that it has cosigned before. What it answers is verified
and kept beside the head. A witness that knows another log under this origin, or a larger one, has seen a fork or a log
that was set back: that is said loudly, and nothing of it is believed that is not signed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import structlog

from models.base import new_id
from models.errors import UnavailableError
from models.ledger.add_checkpoint import MOST_HASHES, SIZE_MEDIA_TYPE, AddCheckpoint
from models.ledger.checkpoint import CheckpointError, Head, Note, Signature, VerifierKey
from models.ledger.merkle import consistency_ranges
from models.ledger.tree import range_hashes
from models.outside.http import HttpAnswer, post
from models.reading import OneStatement, Snapshot
from models.transaction import Tenant, raw_write_transaction

log = structlog.get_logger()

_TRIES: Final = 3
"""How often a witness is asked about one head: it may have to say first from which size."""

# Under another origin a log begins anew, for witnesses too.
_COSIGNED: Final = """
    select max(c.tree_size) from cosignature c
    join sealed_batch b on b.organization_id = c.organization_id and b.tree_size = c.tree_size
    where c.organization_id = $1 and c.witness = $2 and b.generation =
        (select generation from sealed_batch where organization_id = $1 order by tree_size desc limit 1)
"""


@dataclass(frozen=True, slots=True)
class Witness:
    """Who is asked, by which key it is known, and where."""

    key: VerifierKey
    url: str

    @property
    def name(self) -> str:
        """The verifier key in full: by its name alone two could be taken for one another."""
        return str(self.key)


class WitnessError(Exception):
    """A witness refused a head, or answered what can't be believed. The message says what."""


async def cosigned_size(witness: Witness, organization_id: UUID) -> int:
    """Return the size of the newest head of a log that the witness has cosigned; 0 if none."""
    async with OneStatement(Tenant(organization_id=organization_id)) as connection:
        return int(await connection.fetchval(_COSIGNED, organization_id, witness.name) or 0)


async def ask_witness(witness: Witness, organization_id: UUID, checkpoint: str) -> None:
    """Have a witness cosign a head, and keep what it says.

    Raises:
        WitnessError: it refused, or its answer is wrong.
        UnavailableError: it does not answer, or the database is away.
    """
    note = Note.parse(checkpoint)
    head = Head.parse(note.text)
    old_size = await cosigned_size(witness, organization_id)
    if old_size == head.size:
        return
    for _ in range(_TRIES):
        answer = await _ask(witness, organization_id, note, head, old_size)
        if answer.status == 200:
            await _keep(witness, organization_id, head, _cosignature(witness, note, answer.body))
            return
        if answer.status != 409 or answer.media_type != SIZE_MEDIA_TYPE:
            break
        known = _size(answer.body)
        if known > head.size or known == old_size:
            raise WitnessError(
                f"It knows a log of {known} leaves, of which this one of {head.size} is no continuation."
            )
        old_size = known
    if answer.status >= 500 or answer.status == 429:
        raise UnavailableError(f"The witness answered {answer.status}.")
    raise WitnessError(f"It answered {answer.status}.")


async def _ask(witness: Witness, organization_id: UUID, note: Note, head: Head, old_size: int) -> HttpAnswer:
    async with Snapshot(Tenant(organization_id=organization_id)) as connection:
        proof = await range_hashes(connection, organization_id, consistency_ranges(old_size, head.size))
    assert len(proof) <= MOST_HASHES
    return await post(f"{witness.url}/add-checkpoint", str(AddCheckpoint(old_size, proof, note)).encode())


def _size(body: bytes) -> int:
    text = body.decode("ascii", "replace").strip()
    if not text.isascii() or not text.isdecimal() or len(text) > 19:
        raise WitnessError("It did not say which size it knows.")
    return int(text)


def _cosignature(witness: Witness, note: Note, body: bytes) -> tuple[Signature, datetime]:
    """Return the witness's own signature, verified; those of unknown keys are passed over."""
    try:
        signatures = [Signature.parse(line) for line in body.decode().splitlines() if line]
        own: Sequence[Signature] = [
            one for one in signatures if (one.name, one.key_id) == (witness.key.name, witness.key.id)
        ]
        time = witness.key.verify(Note(note.text, tuple(own)))
    except (CheckpointError, UnicodeDecodeError) as error:
        raise WitnessError(f"Its signature is wrong: {error}") from error
    assert time is not None
    try:
        return own[-1], datetime.fromtimestamp(time, UTC)
    except (OverflowError, OSError, ValueError) as error:
        raise WitnessError("It signed at a time that is none.") from error


async def _keep(witness: Witness, organization_id: UUID, head: Head, said: tuple[Signature, datetime]) -> None:
    signature, cosigned_at = said
    async with raw_write_transaction(Tenant(organization_id=organization_id)) as connection:
        await connection.execute(
            "insert into cosignature (organization_id, id, tree_size, witness, line, cosigned_at)"
            " values ($1, $2, $3, $4, $5, $6) on conflict (organization_id, tree_size, witness) do nothing",
            organization_id,
            new_id(),
            head.size,
            witness.name,
            signature.line,
            cosigned_at,
        )
