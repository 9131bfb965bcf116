"""Changes everything in a database that one viewer may not read, and nothing else.

What that is follows from the inventory and the policy alone, row by row and column by column: of a row that the viewer
does not see everything changes but its id and what holds it together, and such rows come and go; of a row that it sees,
the columns whose guard it does not hold, and the SECRET ones but for the blind index of a column that it reads. Where a
pseudonym stands for a column, persons are renamed one for one, since that two values are equal may be seen. Where a
column only leads to a person whom the viewer does not see, it leads to another.
"""

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import product
from typing import Any, Final
from uuid import UUID

import asyncpg
from tortoise import fields as tortoise_fields

from auth.policy import permissions_in
from auth.principal import SYSTEM_ID, Viewer
from auth.scope import ORGANIZATION, project_scope
from models.base import Storage, new_id
from models.encryption.codec import Place, Point
from models.encryption.column import EncryptedField
from models.encryption.envelope import Cell, KeyOwner, seal
from models.encryption.keyring import Keyring
from models.inventory import Column, Entity, entities, entity_named, entity_of
from models.membership import Membership
from models.row import Row, row_type
from models.visibility import scope_of
from schema.api import Api
from schema.field import TYPES, LinkField
from schema.wiring import declaration_of, object_types

SOME_TIME: Final = datetime(2024, 5, 31, 14, 30, tzinfo=UTC)
SOME_DAY: Final = SOME_TIME.date()
MOST_COPIES: Final = 4
"""Rows of a table that come, and as many that go."""

Rows = Mapping[str, Sequence[Row]]


@dataclass(frozen=True, slots=True)
class Touched:
    """What was done to one row: the columns that have another value, or that it came or went."""

    table: str
    row_id: Any
    columns: tuple[str, ...]
    how: str = "changed"

    def __str__(self) -> str:
        return f"{self.table} {self.row_id} {self.how}{': ' if self.columns else ''}{', '.join(self.columns)}"


@dataclass(frozen=True, slots=True)
class Sight:
    """What a viewer may read; without a viewer, nothing."""

    viewer: Viewer | None
    colleagues: frozenset[UUID]

    def of(self, entity: Entity, row: Row) -> frozenset[str]:
        """Return the columns of the row that the viewer may read; none where it does not see the row."""
        viewer, placement = self.viewer, entity.placement
        if viewer is None or placement is None:
            return frozenset()
        if placement.tenant_column is None:
            if row["id"] not in self.colleagues:
                return frozenset()
        elif row[placement.tenant_column] != viewer.organization_id:
            return frozenset()
        held = permissions_in(viewer, scope_of(entity, row, viewer))
        if entity.read not in held:
            return frozenset()
        return frozenset(
            name
            for name, column in entity.columns.items()
            if column.is_in_api and (column.guard is None or column.guard in held)
        )


async def every_row(connection: asyncpg.Connection) -> dict[str, list[Row]]:
    """Return every row of every table."""
    return {
        entity.name: await connection.fetch(f'select * from "{entity.name}" order by id', record_class=row_type(entity))
        for entity in entities()
    }


def sight_of(viewer: Viewer | None, rows: Rows) -> Sight:
    """Return what the viewer may read of these rows."""
    ours = viewer.organization_id if viewer else None
    return Sight(viewer, frozenset(row["user_id"] for row in rows["membership"] if row["organization_id"] == ours))


class Perturbation:
    """The changes that keep a viewer's answers as they are."""

    def __init__(self, api: Api, keyring: Keyring, rows: Rows, sight: Sight) -> None:
        self._keyring = keyring
        self._rows = rows
        self._sight = sight
        self._links = _links_to_people(api)
        self._seen = {
            entity.name: {row["id"] for row in rows[entity.name] if sight.of(entity, row)} for entity in entities()
        }
        self._told = {row["id"] for row in rows["change"] if self._is_told(row)}
        self._seen["change"] |= self._told
        self._seen["audit_entry"] |= {row["entry_id"] for row in rows["change"] if row["id"] in self._told}
        self._names: dict[tuple[UUID, bytes], tuple[str, bytes]] = {}
        self._named: dict[tuple[UUID, str], Any] = {}
        """Whom or what a column of a row names, as the changes that were retold leave it."""
        self._count = 0
        self.touched: list[Touched] = []

    async def apply(self, connection: asyncpg.Connection) -> None:
        """Make the changes. The connection is a superuser's: row-level security doesn't count for it."""
        await self._load_keys(dict(row) for rows in self._rows.values() for row in rows)
        async with connection.transaction(), unguarded(connection):
            for entity in entities():
                await self._change(connection, entity)
            for entity in entities():
                await self._lead_elsewhere(connection, entity)
            for entity in reversed(entities()):
                await self._remove(connection, entity)
            for entity in entities():
                await self._add(connection, entity)

    async def _change(self, connection: asyncpg.Connection, entity: Entity) -> None:
        by_columns: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
        for row in self._rows[entity.name]:
            values = self._new_values(entity, row, dict(row))
            if values:
                names = tuple(sorted(values))
                by_columns.setdefault(names, []).append((row["id"], *(values[name] for name in names)))
        for names, arguments in by_columns.items():
            await self._assign(connection, entity, names, arguments)

    async def _assign(
        self, connection: asyncpg.Connection, entity: Entity, names: Sequence[str], arguments: Sequence[tuple[Any, ...]]
    ) -> None:
        """Give the columns of rows other values, but for those that a check holds together and would refuse.

        arguments: of each row the id, and the columns' values.
        """
        assigned = ", ".join(f'"{name}" = ${at}' for at, name in enumerate(names, 2))
        try:
            async with connection.transaction():
                await connection.executemany(f'update "{entity.name}" set {assigned} where id = $1', arguments)
        except asyncpg.CheckViolationError as error:
            held = await _columns_of_check(connection, entity, error.constraint_name)
            left = [at for at, name in enumerate(names, 1) if name not in held]
            if len(left) == len(names):
                raise
            if len(arguments) > 1:
                # Each of these rows changes in all that it can.
                for one in arguments:
                    await self._assign(connection, entity, names, [one])
            elif left:
                fewer = (arguments[0][0], *(arguments[0][at] for at in left))
                await self._assign(connection, entity, [names[at - 1] for at in left], [fewer])
            return
        self.touched += [Touched(entity.name, row[0], tuple(names)) for row in arguments]

    async def _lead_elsewhere(self, connection: asyncpg.Connection, entity: Entity) -> None:
        """Let what only leads to a person out of sight lead to another, in the rows that the viewer sees."""
        people = {row["id"]: row["organization_id"] for row in self._rows["membership"]}
        hidden = [one for one in people if one not in self._seen["membership"]]
        for (table, name), row in product(sorted(self._links), self._rows[entity.name]):
            if table != entity.name or row["id"] not in self._seen[table] or row[name] in self._seen["membership"]:
                continue
            self._count += 1
            for one in hidden[self._count % len(hidden) :] + hidden[: self._count % len(hidden)]:
                text = f'update "{table}" set "{name}" = $2 where id = $1'
                if people[one] == row["organization_id"] and await _tried(connection, text, row["id"], one):
                    self.touched.append(Touched(table, row["id"], (name,)))
                    break

    async def _remove(self, connection: asyncpg.Connection, entity: Entity) -> None:
        """Take some rows away that the viewer does not see, as far as the foreign keys let them go."""
        for row in self._some_hidden(entity, 0):
            if await _tried(connection, f'delete from "{entity.name}" where id = $1', row["id"]):
                self.touched.append(Touched(entity.name, row["id"], (), "removed"))

    async def _add(self, connection: asyncpg.Connection, entity: Entity) -> None:
        """Add rows like some that the viewer does not see, as far as the keys let them in."""
        for row in self._some_hidden(entity, 1):
            copy = {**dict(row), "id": new_id() if isinstance(row["id"], UUID) else row["id"] + 1_000_000}
            await self._load_keys([copy])
            values = {**copy, **self._new_values(entity, row, copy)}
            names = ", ".join(f'"{name}"' for name in values)
            places = ", ".join(f"${at}" for at in range(1, len(values) + 1))
            text = f'insert into "{entity.name}" ({names}) overriding system value values ({places})'
            if await _tried(connection, text, *values.values()):
                self.touched.append(Touched(entity.name, copy["id"], (), "added"))

    def _some_hidden(self, entity: Entity, first: int) -> list[Row]:
        hidden = [row for row in self._rows[entity.name] if row["id"] not in self._seen[entity.name]]
        return hidden[first :: max(1, len(hidden) // MOST_COPIES)][:MOST_COPIES]

    def _new_values(self, entity: Entity, row: Row, at: Mapping[str, Any]) -> dict[str, Any]:
        """Return what changes of the row, by column; sealed values are sealed for the row `at`."""
        readable = self._sight.of(entity, row) | self._told_of(entity, row)
        found_by = {one.search.index_column for name in readable if (one := entity.columns[name]).search is not None}
        values: dict[str, Any] = {}
        for name, column in entity.columns.items():
            if name not in readable and name not in found_by and name not in values:
                if column.masked_by and readable:
                    values.update(self._renamed(column, row, at))
                else:
                    values[name] = self._another(column, at)
        if entity.name == "change" and row["id"] in self._told:
            values["columns"] = self._retold(row)
        return {name: value for name, value in values.items() if value != at[name]}

    def _is_told(self, change: Row) -> bool:
        """Return whether a change is in the history of a record that the viewer sees."""
        named = {change["part_of_id"], change["entity_id"] if change["entity"] == "record" else None}
        return not named.isdisjoint(self._seen["record"])

    def _told_of(self, entity: Entity, row: Row) -> frozenset[str]:
        """Return what such a history tells of a row of the trail, whoever reads the trail itself."""
        if row["id"] not in self._seen[entity.name]:
            return frozenset()
        if entity.name == "change":
            return frozenset(entity.columns)
        return frozenset({"kind", "action", "at", "channel"}) if entity.name == "audit_entry" else frozenset()

    def _retold(self, change: Row) -> str:
        """Return what became of the columns, with other values of those that the viewer may not read, and others of
        them that changed, or did not."""
        viewer = self._sight.viewer
        held = permissions_in(viewer, project_scope(change["project_id"])) if viewer is not None else frozenset()
        everywhere = permissions_in(viewer, ORGANIZATION) if viewer is not None else frozenset()
        columns = json.loads(change["columns"])
        for name, column in entity_named(change["entity"]).columns.items():
            may_read = column.is_in_api and (column.guard is None or column.guard in held)
            if may_read and (column.names is None or column.names in everywhere):
                continue
            self._count += 1
            if column.names is not None:
                self._retell_names(change, column, columns)
            elif self._count % 3:
                columns[name] = [None, self._text()]
            else:
                columns.pop(name, None)
        return json.dumps(columns)

    def _retell_names(self, change: Row, column: Column, columns: dict[str, Any]) -> None:
        """Let a column name others who are out of sight, or not change from one of them to the next.

        Whom the viewer sees is named as before, and nobody where it was nobody: what was at a moment tells of both.
        """
        at = change["entity_id"], column.name
        before = self._named.get(at)
        after = columns[column.name][1] if column.name in columns else before
        if after is not None and self._are_out_of_sight(after):
            is_still = self._are_out_of_sight(before) and self._count % 3 == 0 and change["operation"] == "UPDATE"
            after = before if is_still else self._others(column, after)
        self._named[at] = after
        if after == before and self._count % 2:
            columns.pop(column.name, None)
        else:
            columns[column.name] = [before, after]

    def _are_out_of_sight(self, named: str | list[str] | None) -> bool:
        ids = {UUID(one) for one in ([named] if isinstance(named, str) else named or [])}
        return bool(ids) and not any(ids & self._seen[table] for table in ("membership", "device", "service_account"))

    def _others(self, column: Column, named: str | list[str]) -> Any:
        """Return others who are out of sight, as many."""
        assert column.names is not None
        entity = entity_named(column.names.noun)
        hidden = [row["id"] for row in self._rows[entity.name] if row["id"] not in self._seen[entity.name]]
        other = str(hidden[self._count % len(hidden)] if hidden else new_id())
        return other if isinstance(named, str) else [other, *(str(new_id()) for _ in named[1:])]

    def _renamed(self, column: Column, row: Row, at: Mapping[str, Any]) -> dict[str, Any]:
        """Return another name and another blind index, the same ones wherever the index was the same."""
        assert column.masked_by is not None
        index: bytes | None = row[column.masked_by]
        if index is None:
            return {column.name: row[column.name], column.masked_by: None}
        self._count += 1
        text, other = self._names.setdefault((row["organization_id"], index), (self._text(), self._bytes()))
        return {column.name: self._sealed(column, at, text), column.masked_by: other}

    def _another(self, column: Column, at: Mapping[str, Any]) -> Any:
        """Return another value for the column of the row; the same one where it holds the rows together."""
        self._count += 1
        old, field, step = at[column.name], column.field, 1 + self._count % 7
        is_choice = getattr(field, "enum_type", None) is not None
        if (
            column.is_nullable
            and old is not None
            and self._count % 5 == 0
            and not isinstance(old, UUID)
            and not is_choice
            and column.storage is not Storage.TOKEN_DIGEST
        ):
            return None
        if isinstance(field, EncryptedField):
            is_place = field.codec is Place
            return self._sealed(column, at, self._place() if is_place else self._text())
        if column.storage is Storage.TOKEN_DIGEST:
            # Whether there is one is what kind of row it is.
            return None if old is None else self._bytes()
        if isinstance(field, tortoise_fields.BinaryField):
            return self._bytes()
        if (kind := getattr(field, "enum_type", None)) is not None:
            members = [str(one.value) for one in kind]
            return members[(step if old is None else members.index(str(old)) + step) % len(members)]
        if isinstance(field, tortoise_fields.CharField):
            return self._text()[: column.max_length]
        if isinstance(field, tortoise_fields.DatetimeField | tortoise_fields.DateField):
            moved = timedelta(days=self._count % 400 - 200)
            return moved + (old or (SOME_TIME if isinstance(field, tortoise_fields.DatetimeField) else SOME_DAY))
        if isinstance(field, tortoise_fields.FloatField):
            return float(self._count % 90)
        if isinstance(field, tortoise_fields.BigIntField | tortoise_fields.IntField) and column.name != "id":
            is_big = isinstance(field, tortoise_fields.BigIntField)
            return (old or 0) + (1_000_000 + self._count if is_big else step)
        if isinstance(field, tortoise_fields.JSONField):
            return f'{{"site_code": [null, "{self._text()}"]}}'
        if isinstance(old, list):
            # Ids, or the names of permissions.
            return ["organization:read"] if old and isinstance(old[0], str) else [new_id()]
        return old

    def _sealed(self, column: Column, at: Mapping[str, Any], text: str) -> bytes:
        owner = _owner_of(column, at)
        assert owner is not None
        cell = Cell(_tenant_of(column, at), column.entity, column.name, at["id"])
        return seal(self._keyring.current(owner), cell, text, pad=bool(getattr(column.field, "pad", False)))

    async def _load_keys(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Bring the keys of all that is sealed in the rows into memory."""
        tables = {frozenset(entity.columns): entity for entity in entities()}
        owners = {
            owner
            for row in rows
            for column in tables[frozenset(row)].columns.values()
            if (owner := _owner_of(column, row)) is not None
        }
        await self._keyring.load(owners)

    def _text(self) -> str:
        """Return a text that nothing else has, at another place in every order and of another length."""
        return f"{'AHQZ~'[self._count % 5]}{self._count} hidden{' and changed' * (self._count % 4)}"

    def _place(self) -> str:
        """Return a place that is elsewhere each time."""
        return Place.encode(Point(self._count % 90 + 1 / 7, self._count % 180 + 1 / 7))

    def _bytes(self) -> bytes:
        return sha256(f"{self._count}".encode()).digest()[:16]


@asynccontextmanager
async def unguarded(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """Let a superuser change rows past the triggers, and put each trigger back as it was. Foreign keys still hold."""
    triggers = await connection.fetch(
        "select tgrelid::regclass::text as name, tgname, tgenabled from pg_trigger where not tgisinternal"
    )
    for name in {row["name"] for row in triggers}:
        await connection.execute(f"alter table {name} disable trigger user")
    yield
    for row in triggers:
        always = "always " if row["tgenabled"] == b"A" else ""
        await connection.execute(f'alter table {row["name"]} enable {always}trigger "{row["tgname"]}"')


async def _tried(connection: asyncpg.Connection, text: str, *arguments: Any) -> bool:
    """Run a statement, and return whether the database's constraints took it."""
    try:
        async with connection.transaction():
            await connection.execute(text, *arguments)
    except asyncpg.IntegrityConstraintViolationError:
        return False
    return True


async def _columns_of_check(connection: asyncpg.Connection, entity: Entity, name: str | None) -> frozenset[str]:
    """Return the columns that a check of the table is about."""
    rows = await connection.fetch(
        "select attname from pg_constraint join pg_attribute on attrelid = conrelid and attnum = any(conkey)"
        " where conrelid = $1::regclass and conname = $2",
        entity.name,
        name,
    )
    return frozenset(row["attname"] for row in rows)


def _links_to_people(api: Api) -> frozenset[tuple[str, str]]:
    """Return the columns that the schema shows as a link to a person alone, by table and name."""
    return frozenset(
        (entity_of(declared.model).name, said.by)
        for one in object_types(api._schema)
        if (declared := TYPES.get(one.name)) is not None and declared.model is not None
        for field in one.fields.values()
        if isinstance(said := declaration_of(field), LinkField) and said.to is Membership
    )


def _owner_of(column: Column, at: Mapping[str, Any]) -> KeyOwner | None:
    return column.field.owner_in(at) if isinstance(column.field, EncryptedField) else None


def _tenant_of(column: Column, at: Mapping[str, Any]) -> UUID:
    tenant: UUID = at.get("organization_id", SYSTEM_ID)
    return tenant
