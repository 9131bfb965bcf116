"""Deleting what is over: each type of data by itself, a batch at a time, each batch one audited change.

A run of a type begins once a day where its period was decided, or when somebody asks for it, and ends when nothing is
left to delete. What is left is found by query, so that a run goes on where the one before it, or the process, ended. Of
two processes that would do the same, one does nothing. Rows that somebody is changing are passed over, and are the next
run's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from auth.action import Action
from auth.errors import Code, FieldwardError
from models.base import new_id
from models.data_kind import DataKind
from models.errors import UnavailableError, UnknownOutcomeError
from models.legal_hold import lock_holds
from models.reading import OneStatement
from models.retention import RunStatus
from models.transaction import Tenant, fetch, write_transaction
from resolvers.change import Change, Intent, commit_decided, record_attempt
from resolvers.retention_due import DELETED, Due, due_of
from resolvers.trail import Actor

MOST_ROWS: Final = 500
"""Rows of a type that one change deletes."""
MOST_PARTS: Final = 5_000
"""Measurements after which a batch of records is full, so that those of few records with many stay short, too."""
EVERY: Final = timedelta(days=1)
"""How long after its start a run is followed by the next."""

_LOCKS: Final = 4_614_533
"""The class of the advisory locks by which data of a type are deleted by one process at a time."""

_ALONE: Final = "select pg_try_advisory_xact_lock($1, hashtext($2)) as is_alone"
_PERIODS: Final = """
    select r.kind, r.days, fieldward_retention_cutoff(r.organization_id, r.kind) as cutoff,
           clock_timestamp() as now, n.status, n.created_at as begun_at, n.id as run_id
      from data_retention r
      left join lateral (
        select x.id, x.status, x.created_at from retention_run x
         where x.organization_id = r.organization_id and x.kind = r.kind order by x.created_at desc, x.id desc limit 1
      ) n on true
     where r.organization_id = $1 and r.days is not null
"""
_BEGIN: Final = """
    insert into retention_run
           (organization_id, id, created_at, kind, days, status, is_asked, moved_at, deleted, parts)
    values ($1, $2, clock_timestamp(), $3, $4, 'RUNNING', $5, clock_timestamp(), 0, 0)
"""
_MOVE: Final = """
    update retention_run set deleted = deleted + $3, parts = parts + $4, days = $5, moved_at = clock_timestamp()
     where organization_id = $1 and id = $2
"""
_END: Final = f"""
    update retention_run
       set status = '{RunStatus.DONE}', held = $3, named = $4, moved_at = clock_timestamp(),
           ended_at = clock_timestamp()
     where organization_id = $1 and id = $2
"""
_FAIL: Final = f"""
    update retention_run
       set status = '{RunStatus.FAILED}', error_code = $3, moved_at = clock_timestamp(), ended_at = clock_timestamp()
     where organization_id = $1 and kind = $2 and status = '{RunStatus.RUNNING}'
"""
_FAILED: Final = f"""
    insert into retention_run (organization_id, id, created_at, kind, days, status, is_asked, moved_at, ended_at,
                               deleted, parts, error_code)
    values ($1, $2, clock_timestamp(), $3, $4, '{RunStatus.FAILED}', $5, clock_timestamp(), clock_timestamp(), 0, 0, $6)
"""


_Place = tuple[datetime, UUID]
_START: Final[_Place] = (datetime(1, 1, 1, tzinfo=UTC), UUID(int=0))


@dataclass(frozen=True, slots=True)
class Done:
    """What a step did with one type: how many rows it deleted, with how many parts. is_over: whether the run ended.

    held, named: at its end, how many rows were over and kept.
    """

    kind: DataKind
    deleted: int = 0
    parts: int = 0
    is_over: bool = False
    held: int = 0
    named: int = 0
    error_code: str | None = None


@dataclass(slots=True)
class _Batch:
    """A batch as it is decided."""

    kind: DataKind
    days: int
    run_id: UUID
    due: Due
    ids: Sequence[UUID]
    done: Done
    place: _Place = _START


class RetentionRuns:
    """Deletes what is over, in any organization. One for a process.

    most: how many rows of one change.
    """

    def __init__(self, *, most: int = MOST_ROWS) -> None:
        self._most = most
        # How far each run is: what lies before, and is kept, is not looked at again for each batch.
        self._reached: dict[UUID, _Place] = {}

    async def step(self, actor: Actor, *, asked: bool = False) -> Sequence[Done]:
        """Delete one batch of each type that has a run to do in the actor's organization. Empty where none has.

        asked: begin a run of each type now, however long ago the last one was; called again until nothing goes on,
            with `asked` the first time alone.

        Raises:
            UnavailableError: the database was away for one, and the other types had their turn, in which nothing was
                done.
        """
        kinds = [DataKind(row["kind"]) for row in await _periods(actor.organization_id) if _has_work(row, asked=asked)]
        done: list[Done] = []
        away: UnavailableError | None = None
        for kind in kinds:
            try:
                one = await self._step(actor, kind, asked=asked)
            except UnavailableError as error:
                # A batch that takes too long is one type's alone.
                away = away or error
            else:
                done += [] if one is None else [one]
        if away is not None and not done:
            raise away
        return done

    async def _step(self, actor: Actor, kind: DataKind, *, asked: bool) -> Done | None:
        batch: _Batch | None = None
        intent: Intent | None = None

        async def decide(connection: BaseDBAsyncClient) -> Intent | None:
            nonlocal batch, intent
            batch = await self._decided(connection, actor.organization_id, kind, asked=asked)
            if batch is not None and batch.ids:
                intent = Intent(Action.RETENTION_RUN, actor, entity=batch.due.how.entity.name, subjects=batch.ids)
            return intent

        async def work(change: Change) -> Done:
            if batch is None:
                raise LookupError("Expected a batch that was decided.")
            return await _delete(change, batch)

        try:
            done = await commit_decided(actor, decide, work)
        except (UnavailableError, UnknownOutcomeError):
            raise
        except Exception as error:
            if intent is None:
                await record_attempt(Intent(Action.RETENTION_RUN, actor, entity=DELETED[kind].entity.name), error)
            return await _failed(actor.organization_id, kind, error, asked=asked)
        if done is None:
            return batch.done if batch is not None else None
        if batch is not None:
            self._reached[batch.run_id] = batch.place
        return done

    async def _decided(
        self, connection: BaseDBAsyncClient, organization_id: UUID, kind: DataKind, *, asked: bool
    ) -> _Batch | None:
        """Return the next batch, of rows that are locked; None where another process is at it, or nothing is to do.

        A run with nothing left to delete is ended here.
        """
        [alone] = await fetch(connection, _ALONE, _LOCKS, f"{organization_id}/{kind}")
        if not alone["is_alone"]:
            return None
        # Before anything is looked for: a hold that was placed until now is seen, and one that is being placed waits.
        await lock_holds(connection, organization_id)
        found = [row for row in await fetch(connection, _PERIODS, organization_id) if row["kind"] == kind]
        if not found or not _has_work(found[0], asked=asked):
            return None
        [row] = found
        days, run_id = row["days"], row["run_id"]
        if row["status"] != RunStatus.RUNNING:
            run_id = new_id()
            await fetch(connection, _BEGIN, organization_id, run_id, kind, days, asked)
        async with connection.acquire_connection() as raw:
            due = await due_of(raw, kind)
            place = self._reached.get(run_id, _START)
            rows = _bounded(await raw.fetch(_take(due), organization_id, row["cutoff"], self._most, *place))
            batch = _Batch(kind, days, run_id, due, [one["id"] for one in rows], Done(kind))
            if rows:
                batch.place = (rows[-1]["since"], rows[-1]["id"])
            else:
                self._reached.pop(run_id, None)
                kept = await raw.fetchrow(_kept(due), organization_id, row["cutoff"])
                batch.done = Done(kind, is_over=True, held=kept["held"], named=kept["named"])
                await raw.execute(_END, organization_id, run_id, kept["held"], kept["named"])
        return batch


async def run_to_its_end(runs: RetentionRuns, actor: Actor, *, asked: bool) -> Sequence[Done]:
    """Have every type's run done to its end, and return what each came to."""
    total: dict[DataKind, Done] = {}
    is_first = True
    while done := await runs.step(actor, asked=asked and is_first):
        is_first = False
        for one in done:
            before = total.get(one.kind, Done(one.kind))
            total[one.kind] = replace(one, deleted=before.deleted + one.deleted, parts=before.parts + one.parts)
        if all(one.is_over for one in done):
            break
    return list(total.values())


async def _periods(organization_id: UUID) -> list[Any]:
    async with OneStatement(Tenant(organization_id=organization_id)) as connection:
        return list(await connection.fetch(_PERIODS, organization_id))


def _has_work(row: Any, *, asked: bool) -> bool:
    """Return whether a run of the type is to go on, or to begin."""
    if row["cutoff"] is None:
        return False
    if row["begun_at"] is None or row["status"] == RunStatus.RUNNING:
        return True
    return asked or row["now"] - row["begun_at"] >= EVERY


def _take(due: Due) -> str:
    parts = "0"
    if due.how.counted is not None:
        table, column = due.how.counted.split(".")
        parts = f"(select count(*) from {table} p where p.organization_id = t.organization_id and p.{column} = t.id)"
    return (
        f"select t.id, {due.how.since} as since, {parts} as parts from {due.table}"
        f" where {due.over} and ({due.how.since}, t.id) > ($4, $5) and not {due.named} and not {due.held}"
        f" order by {due.how.since}, t.id limit $3 for update of t skip locked"
    )


def _kept(due: Due) -> str:
    return (
        f"select count(*) filter (where {due.held}) as held,"
        f" count(*) filter (where not {due.held} and {due.named}) as named"
        f" from {due.table} where {due.over}"
    )


def _bounded(rows: Sequence[Any]) -> Sequence[Any]:
    """Return the rows of a batch: at least one, and no more once their parts are enough."""
    parts = 0
    for place, row in enumerate(rows):
        parts += row["parts"]
        if place and parts > MOST_PARTS:
            return rows[:place]
    return rows


async def _delete(change: Change, batch: _Batch) -> Done:
    """Delete the batch's rows with what belongs to them, and note in the run that they are gone."""
    organization_id, how, ids = change.organization_id, batch.due.how, list(batch.ids)
    parts = 0
    if how.counted is not None:
        table, column = how.counted.split(".")
        # They would go along with what they are part of. By themselves, they are counted as they go.
        [row] = await fetch(
            change.connection,
            f"with gone as (delete from {table} where organization_id = $1 and {column} = any($2::uuid[]) returning 1)"
            " select count(*) as parts from gone",
            organization_id,
            ids,
        )
        parts = row["parts"]
    for table, column in (how.parts or {}).items():
        await fetch(
            change.connection,
            f"delete from {table} where organization_id = $1 and {column} = any($2::uuid[])",
            organization_id,
            ids,
        )
    await fetch(
        change.connection,
        f'delete from "{how.entity.name}" where organization_id = $1 and id = any($2::uuid[])',
        organization_id,
        ids,
    )
    await fetch(change.connection, _MOVE, organization_id, batch.run_id, len(ids), parts, batch.days)
    return Done(batch.kind, len(ids), parts)


async def _failed(organization_id: UUID, kind: DataKind, error: Exception, *, asked: bool) -> Done:
    """Note that the run failed: what it deleted before stays deleted, and the next run tries the rest."""
    code = str(error.code if isinstance(error, FieldwardError) else Code.INTERNAL)
    async with write_transaction(Tenant(organization_id=organization_id)) as connection:
        if not await fetch(connection, f"{_FAIL} returning id", organization_id, kind, code):
            rows = [row for row in await fetch(connection, _PERIODS, organization_id) if row["kind"] == kind]
            if rows:
                await fetch(connection, _FAILED, organization_id, new_id(), kind, rows[0]["days"], asked, code)
    return Done(kind, is_over=True, error_code=code)
