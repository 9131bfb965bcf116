"""The job that publishes: the newest head of each log goes to the outside place, and to every witness.

Sealing does not wait for it. What fails is tried again in the next round, with what is the newest by then. The tree of
heads says what is new: whatever was sealed since it had the size that was published last.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import asyncpg
import structlog

from models.base import new_id
from models.errors import UnavailableError
from models.ledger.checkpoint import CheckpointError, Head, Note
from models.ledger.tree import last_head
from models.outside.place import Place
from models.reading import OneStatement
from models.sealed_batch import HEADS_ID
from models.transaction import Tenant, raw_write_transaction
from resolvers.rollback_guard import Outside
from resolvers.sealing import Sealer
from resolvers.witnessing import Witness, WitnessError, ask_witness, cosigned_size

log = structlog.get_logger()

PUBLISH_HEADS: Final = "publish_heads"
"""The background job's name."""

# What says that more was published than there is, is no publication of ours.
_PUBLISHED: Final = """
    select coalesce(max(p.heads_size), 0) from publication p where p.organization_id = $1
    and p.heads_size <= (select max(b.tree_size) from sealed_batch b where b.organization_id = $1)
"""
_LAG: Final = f"""
    select extract(epoch from clock_timestamp() - min(sealed_at))::float8 from (
        select sealed_at from sealed_batch where organization_id = $1 and tree_size > ({_PUBLISHED})
        order by tree_size limit 1) as first
"""


@dataclass(frozen=True, slots=True)
class NewHeads:
    """The newest checkpoint of each log that has grown, by organization, and the size of the tree of heads then."""

    heads_size: int
    checkpoints: Mapping[UUID, str]


class HeadPublishing:
    """Publishes heads, where this process is the one that does.

    leads: says whether it is.
    """

    def __init__(
        self, leads: Callable[[], Awaitable[bool]], place: Place | None, witnesses: Sequence[Witness] = ()
    ) -> None:
        self._leads = leads
        self._place = place
        self._witnesses = witnesses

    async def step(self) -> bool:
        """Publish what is new. Returns that there is no more to do at once."""
        if (self._place is None and not self._witnesses) or not await self._leads():
            return False
        rounds = [self._ask(one) for one in self._witnesses]
        if self._place is not None:
            rounds.append(self._publish(self._place))
        await asyncio.gather(*rounds)
        return False

    async def _publish(self, place: Place) -> None:
        try:
            new = await new_heads(await published_size())
            if not new.checkpoints:
                return
            await place.put({Head.parse(Note.parse(one).text).origin: one for one in new.checkpoints.values()})
            async with raw_write_transaction(Tenant(organization_id=HEADS_ID)) as connection:
                await connection.execute(
                    "insert into publication (organization_id, id, heads_size, published_at)"
                    " values ($1, $2, $3, clock_timestamp())",
                    HEADS_ID,
                    new_id(),
                    new.heads_size,
                )
        except Exception as error:
            log.error("heads_not_published", exc_info=error)

    async def _ask(self, witness: Witness) -> None:
        """Ask a witness about every log; about the tree of heads last, since that says that it knows all of them."""
        try:
            new = await new_heads(await cosigned_size(witness, HEADS_ID))
        except UnavailableError as error:
            log.warning("witness_not_asked", witness=witness.key.name, failure=type(error.__cause__ or error).__name__)
            return
        is_complete = True
        for organization_id, checkpoint in new.checkpoints.items():
            if organization_id == HEADS_ID and not is_complete:
                return
            try:
                await ask_witness(witness, organization_id, checkpoint)
            except UnavailableError as error:
                # It is away for the others as well.
                failure = type(error.__cause__ or error).__name__
                log.warning("witness_away", witness=witness.key.name, failure=failure)
                return
            except Exception as error:
                is_complete = False
                said = str(error) if isinstance(error, WitnessError) else type(error).__name__
                log.error("witness_refused", witness=witness.key.name, log=_origin(checkpoint), said=said)


async def published_size() -> int:
    """Return the size that the tree of heads had when heads were last laid down at the outside place; 0 if never."""
    async with OneStatement(Tenant(organization_id=HEADS_ID)) as connection:
        return int(await connection.fetchval(_PUBLISHED, HEADS_ID))


async def new_heads(since: int) -> NewHeads:
    """Return the newest head of each log that has grown since the tree of heads had a size; that of the heads last."""
    async with OneStatement(Tenant(organization_id=HEADS_ID)) as connection:
        heads = await last_head(connection, HEADS_ID)
    size = heads.frontier.size
    if size == since:
        return NewHeads(since, {})
    async with OneStatement(Tenant()) as connection:
        rows = await connection.fetch("select * from fieldward_heads_since($1)", since if since < size else 0)
    checkpoints = {row["organization_id"]: row["checkpoint"] for row in rows if _is_its_own(row)}
    return NewHeads(heads.frontier.size, {**checkpoints, HEADS_ID: heads.checkpoint})


def _is_its_own(row: asyncpg.Record) -> bool:
    """Return whether what is stored as an organization's head is one, and says what its row says.

    Else it would keep those of all others from being published, or take the place of another's.
    """
    try:
        head = Head.parse(Note.parse(row["checkpoint"]).text)
    except CheckpointError:
        head = None
    organization_id = row["organization_id"]
    is_own = (
        head is not None
        and str(organization_id) in head.origin.split("/")
        and (head.size, head.root) == (row["tree_size"], row["root_hash"])
    )
    if not is_own:
        log.error("stored_head_is_none", organization_id=str(organization_id))
    return is_own


async def publication_lag() -> float:
    """Return for how long the oldest head waits that was not laid down at the outside place, in seconds; 0 if none.

    Where no such place is set it says how old the first head is.

    Raises:
        UnavailableError: the database is away.
    """
    async with OneStatement(Tenant(organization_id=HEADS_ID)) as connection:
        return max(float(await connection.fetchval(_LAG, HEADS_ID) or 0), 0.0)


def reader_of(place: Place, sealer: Sealer) -> Outside | None:
    """Return what reads the last published head of a log, for the guard; None where the place can't be read back."""
    if not place.is_readable:
        return None

    async def read(origin: str) -> Head | None:
        text = await place.read(origin)
        if text is None:
            return None
        try:
            note = Note.parse(text)
            sealer.signer.verifier_key(origin).verify(note)
            head = Head.parse(note.text)
            if head.origin != origin:
                raise CheckpointError("Expected the head of another log.")
        except CheckpointError as error:
            # Whoever can write there can say anything; what we did not sign says nothing of us.
            raise UnavailableError("The outside place holds a head that is not ours.") from error
        return head

    return read


def _origin(checkpoint: str) -> str:
    return checkpoint.partition("\n")[0]
