"""Two databases for each viewer: a small one with something of everything, and the same with all changed that the
viewer may not read.

Both are copies of one, made after everybody has signed in, so that the same sessions stand in both. Their trail takes
no more entries: an auditor would otherwise read in one answer that the other was given.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, TypeVar
from uuid import UUID

import asyncpg

from auth.principal import Viewer
from auth.token import AccessClaims
from fieldward.demo.people import PEOPLE
from fieldward.embedded import EmbeddedPostgres
from fieldward.settings import Settings
from models.encryption.envelope import key_id_of
from models.inventory import Column, entities
from models.row import Row, open_column
from resolvers.account import member_viewer
from resolvers.location_rewrite import LocationRewrite
from schema.api import Api
from schema.field import TYPES, types_of_rows
from tests.support.arguments import UNKNOWN, Values
from tests.support.factor import add_totp
from tests.support.interference import Pair
from tests.support.mutation import mutate, prepare, with_invitation, with_review
from tests.support.perturbation import Perturbation, Rows, Sight, Touched, every_row, sight_of, unguarded
from tests.support.side import Side
from tests.support.sign_in_kept import rows_of
from tests.support.world import World, connect

T = TypeVar("T")

ANONYMOUS: Final = "anonymous"
KEPT: Final = 12
"""Records of each project that stay: enough for pages and orders, and few enough to be quick."""
SAMPLE: Final = 12
"""Values of a kind that are offered to operations: so many that the viewer reads, and so many that it does not."""

_FREEZE: Final = """
create function test_forget() returns trigger language plpgsql as $$ begin return null; end $$;
create trigger forget before insert on audit_entry for each row execute function test_forget();
"""


@dataclass(frozen=True, slots=True)
class Twin:
    """The databases of one viewer, and what was changed in the second."""

    still: str
    changed: str
    touched: Sequence[Touched]
    values: Values
    known: frozenset[str]
    since: datetime


class Twins:
    """Makes the pairs, and keeps each database until it is closed."""

    def __init__(self, postgres: EmbeddedPostgres, settings: Settings, passwords: dict[str, str], api: Api) -> None:
        self._postgres = postgres
        self._settings = settings
        self._passwords = passwords
        self._api = api
        self._made: list[str] = []
        self._twins: dict[str, Twin] = {}
        self._claims: dict[str, AccessClaims | None] = {ANONYMOUS: None}
        self._source = self._copy("fieldward", "twins_source")
        with self._side(self._source, api) as side:
            side.run(self._stage(side.world))
        self._still = self._copy(self._source, "twins_still")

    def close(self) -> None:
        """Remove the databases."""
        for name in self._made:
            self._sql(f"drop database {name} with (force)")

    @contextmanager
    def pair(self, viewer: str, api: Api | None = None, *, lasting: bool = False) -> Iterator[Pair]:
        """Yield the two worlds of a person of the demo, or of nobody, behind a schema.

        lasting: changes are made, and stay; the worlds are the caller's own. Otherwise none is.
        """
        twin = (None if lasting else self._twins.get(viewer)) or self._make(viewer, lasting=lasting)
        served = api or self._api
        with self._side(twin.still, served) as still, self._side(twin.changed, served) as changed:
            claims, kept = self._claims[viewer], []
            if lasting and claims is not None:
                kept = [side.run(rows_of(side.world, claims)) for side in (still, changed)]
            yield Pair(
                *(viewer, still, changed, claims, twin.touched, twin.values, twin.known, twin.since, lasting),
                kept=kept,
            )

    def _make(self, key: str, *, lasting: bool) -> Twin:
        name = f"twins_{len(self._made)}"
        still_database = self._copy(self._source, f"{name}_still") if lasting else self._still
        changed_database = self._copy(self._source, name)
        with self._side(still_database, self._api) as still, self._side(changed_database, self._api) as changed:
            viewer = None if key == ANONYMOUS else still.run(_viewer(key))
            rows = still.run(_rows(still.world))
            sight = sight_of(viewer, rows)
            touched = changed.run(_perturb(self._api, changed.world, rows, sight))
            other = changed.run(_rows(changed.world))
            opened = [still.run(_secrets(still.world, rows, sight)), changed.run(_secrets(changed.world, other, sight))]
            if lasting:
                for side in (still, changed):
                    side.run(side.world.sql("drop trigger forget on audit_entry"))
            since = still.run(still.world.now())
        known = frozenset(str(row["id"]) for one in (rows, other) for table in one.values() for row in table)
        values = _values(rows, other, sight, opened, touched)
        twin = Twin(still_database, changed_database, touched, values, known, since)
        if not lasting:
            self._twins[key] = twin
        return twin

    async def _stage(self, world: World) -> None:
        """Add what the demo lacks, sign everybody in, and leave a few rows of each kind."""
        await _enrich(world)
        for person in PEOPLE:
            await world.client(person.key)
            session = (
                await world.sql(
                    "select id, user_id, organization_id from session where membership_id = $1"
                    " order by created_at desc limit 1",
                    await world.member_id(person.key),
                )
            )[0]
            self._claims[person.key] = AccessClaims(session["user_id"], session["id"], session["organization_id"])
        connection = await connect(world.superuser)
        try:
            async with connection.transaction(), unguarded(connection):
                await _thin_out(connection)
            await connection.execute(_FREEZE)
        finally:
            await connection.close()

    def _side(self, database: str, api: Api) -> Side:
        return Side(self._postgres, self._settings, database, api, self._passwords)

    def _copy(self, source: str, name: str) -> str:
        self._sql(
            f"create database {name} template {source} strategy file_copy owner fieldward_owner",
            f"revoke all on database {name} from public",
            f"grant connect on database {name} to fieldward_service",
        )
        self._made.append(name)
        return name

    def _sql(self, *texts: str) -> None:
        async def run() -> None:
            connection = await connect(self._postgres.superuser())
            try:
                for text in texts:
                    await connection.execute(text)
            finally:
                await connection.close()

        asyncio.run(run())


async def _enrich(world: World) -> None:
    """Let there be a project that few see, roles that differ between projects, a device blocked, a review undone."""
    stage = await with_review(world, await with_invitation(world, await prepare(world)))
    await add_totp(world, "manager")
    owner, reviewer = await world.client("owner"), await world.client("reviewer")
    parks = f"Project:{await world.project_id('PARKS')}"
    for number in range(6):
        given = {
            "projectId": parks if number % 2 else stage.project,
            "siteCode": f"WELL-{number}",
            "collectedAt": f"2026-0{number + 1}-03T03:04:05Z",
            "medium": "WATER",
            "latitude": 51 + number / 70,
            "longitude": -number / 70,
        }
        await _done(owner, "createRecord", given, "record { id }")
    # Not only where it is not sensitive, a place is to tell nothing.
    given = {"id": stage.project, "expectedVersion": 1, "sensitive": True, "reason": "Private wells."}
    await _done(owner, "setLocationSensitivity", given)
    job, organization = LocationRewrite(), await world.organization_id("clearwater")
    while await job.step(organization):
        pass
    collector = f"User:{await world.member_id('collector')}"
    await _done(reviewer, "rejectRecord", {"id": stage.submitted, "expectedVersion": 2, "reason": "The cap was loose."})
    await _done(
        owner, "assignProjectRole", {"userId": collector, "projectId": parks, "role": "VIEWER", "reason": "Looks on."}
    )
    project = await _done(
        owner,
        "createProject",
        {"code": "SPILL", "name": "Spill response", "description": "Not announced."},
        "project { id }",
    )
    for number in range(6):
        given = {
            "projectId": project["project"]["id"],
            "siteCode": f"SPILL-{number % 3}",
            "collectedAt": f"2026-0{number + 1}-02T03:04:05Z",
            "medium": "SOIL" if number % 2 else "WATER",
            "comment": f"Drum {number} leaks.",
            "collector": ["Cleo Cole", "Mara Mann"][number % 2],
            "deviceId": stage.device,
            "measurements": [{"characteristic": "Benzene", "value": number, "comment": "Strong smell."}],
        }
        await _done(owner, "createRecord", given, "record { id }")


async def _done(client: Any, name: str, given: dict[str, Any], shown: str = "") -> Any:
    answer = await mutate(client, name, given, shown)
    assert answer.data[name]["errors"] == [], answer.data
    return answer.data[name]


async def _thin_out(connection: asyncpg.Connection) -> None:
    await connection.execute(
        "delete from record where id in (select id from (select id, row_number() over"
        " (partition by project_id order by creation_digest is null, collector is null, comment is null, id) as place"
        f" from record) ranked where place > {KEPT})"
    )
    await connection.execute(
        "delete from measurement where id in (select id from (select id, row_number() over"
        " (partition by record_id order by position) as place from measurement) ranked where place > 4)"
    )
    await connection.execute(
        "delete from change where entity in ('record', 'measurement')"
        " and entity_id not in (select id from record union all select id from measurement)"
    )


async def _viewer(key: str) -> Viewer:
    person = next(one for one in PEOPLE if one.key == key)
    return await member_viewer(person.organization, email=person.email)


async def _rows(world: World) -> Rows:
    connection = await connect(world.superuser)
    try:
        return await every_row(connection)
    finally:
        await connection.close()


async def _perturb(api: Api, world: World, rows: Rows, sight: Sight) -> Sequence[Touched]:
    perturbation = Perturbation(api, world.services.keyring, rows, sight)
    connection = await connect(world.superuser)
    try:
        await perturbation.apply(connection)
    finally:
        await connection.close()
    return perturbation.touched


async def _secrets(world: World, rows: Rows, sight: Sight) -> dict[Column, list[str]]:
    """Return a few texts of each encrypted column, opened: of rows that the viewer sees, and of others."""
    found: dict[Column, list[str]] = {}
    for entity in entities():
        for column in (one for one in entity.columns.values() if one.is_sealed):
            stored = [row for row in rows[entity.name] if row[column.name] is not None]
            seen = [row for row in stored if sight.of(entity, row)][:3]
            filled = [*seen, *[row for row in stored if row not in seen][:3]]
            await world.services.keyring.load_ids([key_id_of(row[column.name]) for row in filled])
            found[column] = list(dict.fromkeys(str(open_column(column, row) or "")[:80] for row in filled))
    return found


def _values(
    before: Rows, after: Rows, sight: Sight, opened: Sequence[Mapping[Column, list[str]]], touched: Sequence[Touched]
) -> Values:
    """Return what operations draw their arguments from: what the viewer reads, what came or went, what is hidden."""
    moved_ids = {(one.table, one.row_id) for one in touched if one.how != "changed"}
    columns: dict[tuple[str, str], list[Any]] = {}
    ids: dict[str, list[str]] = {}
    counts: dict[str, int] = {}
    names = {model: name for name, model in types_of_rows().items()}
    for entity in entities():
        seen = [row for row in before[entity.name] if sight.of(entity, row)]
        hidden = [row for row in (*before[entity.name], *after[entity.name]) if not sight.of(entity, row)]
        moved = [row for row in hidden if (entity.name, row["id"]) in moved_ids]
        for column in entity.columns.values():
            if column.is_in_api and not column.is_sealed:
                sampled = [one for rows in (seen, moved, hidden) for one in _sample(column, rows)]
                columns[entity.name, column.name] = list(dict.fromkeys(sampled))
        if (name := names.get(entity.model)) is not None:
            counts[name] = len(seen)
            ids[name] = [f"{name}:{one}" for one in (*columns[entity.name, "id"], UNKNOWN)]
    for name, declared in TYPES.items():
        if declared.is_past and declared.model is not None:
            # What was is asked for by the ids of what is.
            counts[name], ids[name] = counts[names[declared.model]], ids[names[declared.model]]
    for side in opened:
        for column, some in side.items():
            if column.search is not None:
                columns.setdefault((column.entity, column.name), []).extend(some)
    texts = list(dict.fromkeys(text for side in opened for some in side.values() for text in some))
    return Values(ids, columns, texts, counts)


def _sample(column: Column, rows: Sequence[Row]) -> list[Any]:
    """Return some of the values, from all over the rows, as JSON holds them."""
    values = list(dict.fromkeys(map(_as_json, (row[column.name] for row in rows))))
    return [one for one in values[:: max(1, len(values) // SAMPLE)][:SAMPLE] if one is not None]


def _as_json(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, UUID | list) else value
