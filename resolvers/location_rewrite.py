"""Rewriting how the records and sites of a project keep their places, after it was decided otherwise.

What is left is found by query, batch by batch, each batch one audited change of the system's own. Whoever is killed in
the middle has lost nothing, and several processes do it together: none waits for a row that another holds. That a row
was rewritten is no change of what it says: its version and those who had a hand in it stay.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast
from uuid import UUID

from auth.action import Action
from models.encryption.codec import Place, Point
from models.encryption.column import EncryptedField, open_light, seal_light
from models.encryption.envelope import Cell, key_id_of
from models.encryption.keyring import active_keyring
from models.errors import TamperedError
from models.inventory import Entity, entity_of
from models.project import Project
from models.reading import OneStatement
from models.record import Record
from models.site import Site
from models.transaction import Tenant, fetch
from resolvers.change import Change, Intent, commit_change
from resolvers.location import location_columns
from resolvers.trail import job_actor

BATCH: Final = 500
"""Rows of one change: its transaction stays short."""

STUCK_S: Final = 3600.0
"""Seconds after which a project is tried again of which a place did not open."""

REWRITE_LOCATIONS: Final = "rewrite_locations"
"""The background job's name."""

_PLACED: Final = (entity_of(Record), entity_of(Site))
"""The tables whose rows have places, in the order in which they are rewritten."""

_Place = tuple[datetime, UUID]
_START: Final[_Place] = (datetime(1, 1, 1, tzinfo=UTC), UUID(int=0))

_LEFT: Final = (
    "r.organization_id = p.organization_id and r.project_id = p.id"
    " and r.location_is_coarse is distinct from p.locations_are_sensitive"
)

_PENDING: Final = """
    select p.id from project p join organization o on o.id = p.organization_id
    where p.organization_id = $1 and p.locations_rewriting and o.status <> 'ERASING' and p.id <> all($2::uuid[])
    order by p.id limit 1
"""

_IS_LEFT: Final = f"""
    select exists (
        select from project p join {{table}} r on {_LEFT}
        where p.organization_id = $1 and p.id = $2 and (r.created_at, r.id) > ($3, $4)
    )
"""

# Held, so that nobody decides otherwise until this batch is done; who adds records holds it alike, and is not in the
# way.
_HOLD: Final = """
    select p.locations_are_sensitive from project p
    where p.organization_id = $1 and p.id = $2 and p.locations_rewriting for share
"""

_TAKE: Final = f"""
    select r.id, r.created_at, r.latitude, r.longitude, r.exact_location, r.location_is_coarse
    from {{table}} r join project p on {_LEFT}
    where p.organization_id = $1 and p.id = $2 and (r.created_at, r.id) > ($3, $4)
    order by r.created_at, r.id limit $5
    for update of r skip locked
"""

_WRITE: Final = """
    update {table} r
    set latitude = n.latitude, longitude = n.longitude, exact_location = n.exact, location_is_coarse = $2
    from unnest($3::uuid[], $4::float8[], $5::float8[], $6::bytea[]) as n(id, latitude, longitude, exact)
    where r.organization_id = $1 and r.id = n.id
"""

_FINISH: Final = f"""
    update project p set locations_rewriting = false
    where p.organization_id = $1 and p.id = $2 and p.locations_rewriting
      and {" and ".join(f"not exists (select from {one.name} r where {_LEFT})" for one in _PLACED)}
    returning p.id
"""


class LocationRewrite:
    """Rewrites what is left to rewrite, in any organization. One for a process.

    batch: how many rows of one change.
    """

    def __init__(self, *, batch: int = BATCH) -> None:
        self._batch = batch
        # How far each table of each project is done: what lies before is not looked at again for each batch.
        self._reached: dict[tuple[UUID, str], _Place] = {}
        # Projects with a place that does not open, until when they are left alone: they hold up no other.
        self._stuck: dict[UUID, float] = {}

    async def step(self, organization_id: UUID) -> bool:
        """Do one batch, or note that a project is done. Returns whether there may be more to do at once."""
        now = time.monotonic()
        self._stuck = {one: until for one, until in self._stuck.items() if until > now}
        project_id = await _read(organization_id, _PENDING, organization_id, list(self._stuck))
        if project_id is None:
            return False
        try:
            return await self._step(organization_id, project_id)
        except TamperedError:
            self._stuck[project_id] = now + STUCK_S
            raise

    async def _step(self, organization_id: UUID, project_id: UUID) -> bool:
        reached = [(one, self._reached.get((project_id, one.name), _START)) for one in _PLACED]
        every = [_At(organization_id, project_id, one, place) for one, place in reached]
        for at in every:
            if await _read(organization_id, _of(_IS_LEFT, at), *at.arguments):
                return await self._rewrite(at)
        if any(at.reached != _START for at in every):
            # From the beginning once more: what somebody else held was passed over.
            for at in every:
                self._reached.pop(at.key, None)
            return True
        return await _committed(every[0], lambda change: _finish(change, every[0]))

    async def _rewrite(self, at: "_At") -> bool:
        async def work(change: Change) -> bool:
            rows = await _rewrite_some(change, at, self._batch)
            if rows:
                self._reached[at.key] = (rows[-1]["created_at"], rows[-1]["id"])
            return bool(rows)

        return await _committed(at, work)


@dataclass(frozen=True, slots=True)
class _At:
    """A table of a project, and how far it is done."""

    organization_id: UUID
    project_id: UUID
    entity: Entity
    reached: _Place

    @property
    def key(self) -> tuple[UUID, str]:
        """What is done so far."""
        return self.project_id, self.entity.name

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The organization, the project, and where to go on."""
        return self.organization_id, self.project_id, *self.reached


def _of(text: str, at: _At) -> str:
    return text.format(table=at.entity.name)


async def _read(organization_id: UUID, text: str, *arguments: Any) -> Any:
    async with OneStatement(Tenant(organization_id=organization_id)) as connection:
        return await connection.fetchval(text, *arguments)


async def _committed(at: _At, work: Callable[[Change], Awaitable[bool]]) -> bool:
    """Do the work as the service itself: an entry that names nobody, by the channel of jobs."""
    intent = Intent(
        action=Action.PROJECT_REWRITE_LOCATIONS,
        actor=job_actor(at.organization_id),
        entity=entity_of(Project).name,
        subjects=[at.project_id],
    )
    return await commit_change(intent, work)


async def _rewrite_some(change: Change, at: _At, most: int) -> list[dict[str, Any]]:
    """Rewrite the next rows that nobody holds, and return them as they were."""
    held = await fetch(change.connection, _HOLD, at.organization_id, at.project_id)
    if not held:
        return []
    is_sensitive = bool(held[0]["locations_are_sensitive"])
    rows = await fetch(change.connection, _of(_TAKE, at), *at.arguments, most)
    if not rows:
        return []
    sealed = {key_id_of(row["exact_location"]) for row in rows if row["exact_location"] is not None}
    await active_keyring().load_ids(sealed)
    written = [_written(at, row, is_sensitive) for row in rows]
    await fetch(
        change.connection,
        _of(_WRITE, at),
        at.organization_id,
        is_sensitive,
        [row["id"] for row in rows],
        [one["latitude"] for one in written],
        [one["longitude"] for one in written],
        [one["exact_location"] for one in written],
    )
    return rows


async def _finish(change: Change, at: _At) -> bool:
    # Whoever wrote records by what was decided before held the project until they ended: they are all seen here.
    return bool(await fetch(change.connection, _FINISH, at.organization_id, at.project_id))


def _written(at: _At, row: dict[str, Any], is_sensitive: bool) -> dict[str, Any]:
    """Return the columns as they are stored from now on."""
    sealed = cast("EncryptedField[Point | None]", at.entity.columns["exact_location"].field)
    if not row["location_is_coarse"]:
        exact = Point(row["latitude"], row["longitude"])
    elif row["exact_location"] is None:
        exact = Point(None, None)
    else:
        cell = Cell(at.organization_id, at.entity.name, sealed.model_field_name, row["id"])
        exact = Place.decode(open_light(row["exact_location"], cell))
    columns = location_columns(exact, is_sensitive=is_sensitive)
    here = {"id": row["id"], "organization_id": at.organization_id, "exact_location": columns["exact_location"]}
    return {**columns, "exact_location": seal_light(sealed, here)}
