"""The one audited way to write.

A change is one transaction with one audit entry, inserted first: who, when, how, why. If the work raises, all of it is
rolled back, and the attempt is written apart, on a pool of its own, so that a refusal leaves a trace although it
changed nothing. Commands and imports go the same way as mutations.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, TypeVar
from uuid import UUID

import structlog
from tortoise.backends.base.client import BaseDBAsyncClient

from auth.action import Action
from auth.errors import Code, FieldwardError, ThrottledError, UnauthenticatedError
from auth.principal import Viewer
from models.audit_entry import EntryKind, Outcome
from models.audit_writing import SealedEntry, append_entries, entry_insertion
from models.base import TenantModel
from models.deadline import within_deadline
from models.encryption.keyring import active_keyring
from models.errors import CrowdedError, UnavailableError, UncommittedError, UnknownOutcomeError
from models.inventory import entity_of
from models.row import Row
from models.transaction import Tenant, fetch, write_transaction
from models.writing import Values, insert_many, insert_rows
from resolvers.checking import require_clock
from resolvers.idempotency import DoneBeforeError
from resolvers.standing import standing_question
from resolvers.trail import Actor, new_entry

log = structlog.get_logger()
T = TypeVar("T")

AGAIN_S: Final = (0.05, 0.3, 0.8)
"""The pauses before a mutation is tried again that was not committed, each more or less by half."""
_HALF: Final = "The database went away before all of it was done. Send it again, or look what became of it."

_DENIALS = frozenset({Code.FORBIDDEN, Code.UNAUTHENTICATED, Code.NOT_FOUND, Code.UNTRUSTED_DOCUMENT})


@dataclass(frozen=True, slots=True)
class Intent:
    """What is about to be done, by whom and why. `subjects` are the rows acted on, as far as the input names them.

    done_at: when it was done by the device's own clock, where somebody sends later what they did before. It is kept as
        it was said, and changes nothing: the database's clock says when, and in which order.
    """

    action: Action
    actor: Actor
    reason: str | None = field(default=None, repr=False)
    entity: str | None = None
    subjects: Sequence[UUID] = ()
    done_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A transaction in progress, handed to the use case. `at` is the database's time of it.

    made: the rows that were made in it by `insert`, as they are stored, by id.
    afterwards: what is done once it is committed, before anything is answered: changes in other organizations, each in
        a transaction of its own with its own entry. Work that has some is to be done anew where it is asked for again:
        what it answered is not kept under the key of the request.
    """

    intent: Intent
    connection: BaseDBAsyncClient
    at: datetime
    made: dict[UUID, Row] = field(default_factory=dict)
    afterwards: list[Callable[[], Awaitable[object]]] = field(default_factory=list)

    @property
    def organization_id(self) -> UUID:
        """The tenant that is changed."""
        return self.intent.actor.organization_id

    @property
    def viewer(self) -> Viewer:
        """Who changes it. Raises `UnauthenticatedError` if nobody is signed in."""
        if self.intent.actor.viewer is None:
            raise UnauthenticatedError("Sign in first.")
        return self.intent.actor.viewer

    async def insert(self, model: type[TenantModel], rows: Sequence[Values]) -> None:
        """Write new rows of a table; see `models/writing.py: insert_rows`."""
        for row in await insert_rows(self.connection, entity_of(model), rows):
            self.made[row["id"]] = row

    async def insert_many(self, model: type[TenantModel], rows: Sequence[Values]) -> None:
        """Write new rows of a table that nobody is shown right away; see `models/writing.py: insert_many`."""
        await insert_many(self.connection, entity_of(model), rows)


async def commit_change(intent: Intent, work: Callable[[Change], Awaitable[T]], *, pauses: Sequence[float] = ()) -> T:
    """Run the work in a transaction with its audit entry, and return what it returned once that is committed.

    pauses: how long to wait, in seconds, before each further try where a transaction was certainly not committed and
        the next may well be: a server that restarts, another that takes its place, a deadlock. For work that can be run
        again from its beginning: what it does outside of the transaction is done anew each time.

    Raises:
        InvalidInputError: the device's clock shows what no clock can.
        DoneBeforeError: the work says so. Everything was rolled back, and nothing is noted.
        CrowdedError: too many wait for a connection. Nothing was tried, and nothing is noted.
        OverdueError: the operation's time is over. It ends before the commit begins, or not at all.
        Whatever the work raised, after everything was rolled back and the attempt was written.
    """
    actor = intent.actor
    # Until it was compared with the database's clock, the device's is not kept: it may be no time that there is.
    attempted = replace(intent, done_at=None)
    left = list(pauses)
    try:
        while True:
            try:
                await active_keyring().load(actor.key_owners)
                entry = _entry_of(intent)
                async with write_transaction(_tenant(actor)) as connection, within_deadline():
                    change = await _begin(intent, connection, entry)
                    if intent.done_at is not None:
                        require_clock(intent.done_at, now=change.at)
                    attempted = intent
                    done = await work(change)
                break
            except UncommittedError as error:
                if not error.may_pass or not left:
                    raise
                log.info("transaction_tried_again", action=intent.action, request_id=str(actor.origin.request_id))
                # Those whose connections were lost at one moment do not come back at one moment.
                await asyncio.sleep(left.pop(0) * random.uniform(0.5, 1.5))  # noqa: S311  (no secret)
    except (UnknownOutcomeError, DoneBeforeError, CrowdedError):
        # If it was committed, its entry was too; an entry that it failed would be a lie. What was done before has one.
        # And where others wait for too long already, nothing was tried.
        raise
    except Exception as error:
        await record_attempt(attempted, error)
        raise
    await _follow(change)
    return done


async def _follow(change: Change) -> None:
    """Do what is done in other organizations once the change is committed.

    Raises:
        UnknownOutcomeError: it was not, or may not have been. What was committed before it stays.
    """
    for follow in change.afterwards:
        try:
            await follow()
        except UnavailableError as error:
            raise UnknownOutcomeError(_HALF) from error


async def commit_decided(
    actor: Actor,
    decide: Callable[[BaseDBAsyncClient], Awaitable[Intent | None]],
    work: Callable[[Change], Awaitable[T]],
) -> T | None:
    """Run the work as `commit_change` does, where only a look inside the transaction says what there is to do.

    For jobs, which have no address and no reason: no key is loaded, and none is waited for.

    decide: returns that, or None where there is nothing: then no entry is written, and the work is not run. What it
        writes itself, of what is not in the trail, is committed either way.

    Raises:
        Whatever was raised, after everything was rolled back; and the attempt was written where there was an intent.
    """
    intent: Intent | None = None
    try:
        async with write_transaction(_tenant(actor)) as connection:
            intent = await decide(connection)
            if intent is None:
                return None
            return await work(await _begin(intent, connection, _entry_of(intent)))
    except UnknownOutcomeError:
        raise
    except Exception as error:
        if intent is not None:
            await record_attempt(intent, error)
        raise


async def record_attempt(intent: Intent, error: Exception) -> None:
    """Write that something was tried and did not happen, or count it where there is a flood of it.

    If it can't be written, it is in the log instead.
    """
    code = error.code if isinstance(error, FieldwardError) else Code.INTERNAL
    is_denied = code in _DENIALS or isinstance(error, ThrottledError)
    outcome = Outcome.DENIED if is_denied else Outcome.FAILED
    said = (error.noted if isinstance(error, FieldwardError) else None) or code
    actor = intent.actor
    repeated = 0
    if actor.floodgate is not None:
        # Programs are told apart as people are: one that is refused all day hides nothing of another behind the same
        # address.
        whose = actor.who.principal_id if actor.who is not None else actor.person_id or actor.origin.ip_address
        kind = (actor.organization_id, whose, intent.action, said)
        admitted = actor.floodgate.admit(kind)
        if admitted is None:
            return
        repeated = admitted
    try:
        await active_keyring().load(actor.key_owners)
        entry = new_entry(
            actor,
            kind=EntryKind.ATTEMPT,
            action=intent.action,
            outcome=outcome,
            error_code=said,
            repeated=repeated,
            reason=intent.reason,
            entity=intent.entity,
            entity_ids=intent.subjects,
            device_at=intent.done_at,
        )
        await append_entries([entry])
    except Exception as failure:
        log.error(
            "attempt_not_written",
            action=intent.action,
            outcome=outcome,
            code=code,
            request_id=str(actor.origin.request_id),
            failure=type(failure).__name__,
        )


def _entry_of(intent: Intent) -> SealedEntry:
    return new_entry(
        intent.actor,
        kind=EntryKind.CHANGE,
        action=intent.action,
        outcome=Outcome.DONE,
        reason=intent.reason,
        entity=intent.entity,
        entity_ids=intent.subjects,
        device_at=intent.done_at,
    )


async def _begin(intent: Intent, connection: BaseDBAsyncClient, entry: SealedEntry) -> Change:
    """Write the entry and ask whether who acts still stands: one statement.

    A request may have waited, for its body or behind other mutations, since it was found out who asks.
    """
    viewer = intent.actor.viewer
    question = standing_question(viewer) if viewer is not None else None
    if question is None:
        row = (await fetch(connection, f"{entry_insertion()} returning at", *entry.values))[0]
    else:
        text, arguments = question.text, question.arguments
        insertion = entry_insertion(len(arguments) + 1)
        row = (
            await fetch(
                connection,
                f"with entry as ({insertion} returning at)"
                f" select entry.at, standing.* from entry left join ({text}) standing on true",
                *arguments,
                *entry.values,
            )
        )[0]
        state = row if row["organization_id"] is not None else None
        intent = replace(intent, actor=replace(intent.actor, viewer=question.answer(state, row["at"])))
    return Change(intent=intent, connection=connection, at=row["at"])


def _tenant(actor: Actor) -> Tenant:
    return Tenant(organization_id=actor.organization_id, user_id=actor.person_id)
