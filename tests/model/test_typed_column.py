"""Encrypted columns of every type, through PostgreSQL: values come back as what they were, or are not written."""

import itertools
import math
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from tortoise import Tortoise, fields
from tortoise.context import TortoiseContext
from tortoise.models import Model

from fieldward.embedded import EmbeddedPostgres
from models.base import new_id
from models.encryption.codec import Codec, Date, DecimalNumber, Integer, Json, Number, Place, Point, Text, Time
from models.encryption.column import EncryptedField, WardModelMeta
from models.encryption.envelope import Cell, DataKey, KeyOwner, OwnerKind, open_sealed, seal
from models.encryption.file_provider import FileKeyProvider
from models.encryption.keyring import Keyring
from models.encryption.keystore import KeyStore
from models.errors import EncryptedLookupError, InvalidInputError, TamperedError

ACME = UUID(int=1)
OWNER = KeyOwner(OwnerKind.ORGANIZATION, ACME)


class Reading(Model, metaclass=WardModelMeta):
    """A table with a column of each type."""

    id = fields.UUIDField(primary_key=True, default=new_id)
    organization_id = fields.UUIDField(default=ACME)
    note = EncryptedField(max_length=60, null=True)
    count = EncryptedField(max_length=60, codec=Integer, null=True)
    value = EncryptedField(max_length=60, codec=Number, null=True)
    price = EncryptedField(max_length=60, codec=DecimalNumber, null=True, pad=True)
    day = EncryptedField(max_length=60, codec=Date, null=True)
    at = EncryptedField(max_length=60, codec=Time, null=True)
    told = EncryptedField(max_length=60, codec=Json, null=True)
    place = EncryptedField(max_length=60, codec=Place, null=True, pad=True)

    class Meta:
        table = "reading"


COLUMNS: dict[str, type[Codec[Any]]] = {
    "note": Text,
    "count": Integer,
    "value": Number,
    "price": DecimalNumber,
    "day": Date,
    "at": Time,
    "told": Json,
    "place": Place,
}
VALUES: dict[str, list[Any]] = {
    "note": ["", "Jürgen saw a heron 😀", " 1 "],
    "count": [0, -1, 2**63, -(10**50)],
    "value": [0.0, 0.1, -1.5e-300, 1.7976931348623157e308, 5e-324, 1e16, 7.0],
    "price": [Decimal("7.10"), Decimal(0), Decimal("-0.00"), Decimal("1E+9"), Decimal("1.23456789012345678901234567")],
    "day": [date(2026, 2, 3), date.min, date.max],
    "at": [
        datetime(2026, 2, 3, 4, 5, 6, 7, tzinfo=UTC),
        datetime(2026, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=-8))),
        datetime.min.replace(tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
    ],
    "told": [{"b": [1, 2.5, True], "a": None}, [], "text", 7, False, {"ü": "\0"}],
    "place": [Point(47.5, -122.25), Point(-90, 180), Point(0.1, -0.0)],
}
REFUSED: list[tuple[str, Any]] = [
    ("count", True),
    ("count", 1.0),
    ("count", "1"),
    ("value", math.nan),
    ("value", math.inf),
    ("value", 1),
    ("value", "0.1"),
    ("price", Decimal("NaN")),
    ("price", 7.1),
    ("day", datetime(2026, 2, 3, tzinfo=UTC)),
    ("day", "2026-02-03"),
    ("at", datetime(2026, 2, 3)),
    ("at", datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1)))),
    ("at", date(2026, 2, 3)),
    ("told", math.nan),
    ("told", {"a": [math.nan]}),
    ("told", {1: 2}),
    ("place", (47.5, -122.25)),
    ("place", "[-122.25,47.5]"),
    ("note", 1),
    ("note", "nul\0"),
    ("note", "\ud800"),
    ("note", "x" * 61),
    ("count", 10**60),
    ("told", ["x" * 60]),
]

_numbers = itertools.count(1)


@pytest.fixture
async def database(postgres: EmbeddedPostgres) -> AsyncIterator[asyncpg.Connection]:
    """The table, reached through Tortoise with a keyring active; yields a connection past the ORM."""
    name = f"typed_test_{next(_numbers)}"
    anywhere: dict[str, Any] = {**postgres.superuser().dsn_parameters()}
    superuser = await asyncpg.connect(**anywhere)
    await superuser.execute(f"create database {name}")
    parameters: dict[str, Any] = {**postgres.superuser(name).dsn_parameters()}
    keyring = Keyring(KeyStore(), FileKeyProvider(bytes(32)), lifetime_s=60)
    keyring.add(_key(), is_current=True)
    async with TortoiseContext() as context:
        await context.init(
            config={
                "connections": {
                    "default": {
                        "engine": "tortoise.backends.asyncpg",
                        "credentials": {**parameters, "minsize": 1, "maxsize": 2},
                    }
                },
                "apps": {"trial": {"models": [__name__], "default_connection": "default"}},
                "use_tz": True,
            }
        )
        await Tortoise.generate_schemas()
        connection = await asyncpg.connect(**parameters)
        with keyring.activate():
            yield connection
        await connection.close()
    await superuser.execute(f"drop database {name} with (force)")
    await superuser.close()


def _key() -> DataKey:
    return DataKey(UUID(int=7), OWNER, bytes(32))


@pytest.mark.parametrize("column", COLUMNS)
async def test_values_come_back_from_the_database_with_their_type(database: asyncpg.Connection, column: str) -> None:
    for value in VALUES[column]:
        made = await Reading.create(**{column: value})

        row = await Reading.get(id=made.id)
        again = getattr(row, column)
        assert again == value
        assert type(again) is type(value)
        assert getattr(made, column) is value
        assert [name for name in COLUMNS if getattr(row, name) is not None] == [column]
        # The same is opened past the ORM as the text that the codec says.
        blob = await database.fetchval(f"select {column} from reading where id = $1", made.id)
        assert open_sealed(_key(), Cell(ACME, "reading", column, made.id), blob) == COLUMNS[column].encode(value)


@pytest.mark.usefixtures("database")
async def test_a_row_with_all_types_is_made_read_changed_and_made_empty() -> None:
    first, second = ({column: values[place] for column, values in VALUES.items()} for place in (0, 1))
    row = await Reading.create(**first)

    for expected in (first, second, dict.fromkeys(COLUMNS)):
        again = await Reading.get(id=row.id)
        for column, value in expected.items():
            setattr(again, column, value)
        await again.save()
        found = await Reading.get(id=row.id)
        assert {column: getattr(found, column) for column in COLUMNS} == expected


@pytest.mark.usefixtures("database")
async def test_many_rows_of_all_types_are_made_at_once() -> None:
    told = [{column: values[place] for column, values in VALUES.items()} for place in (0, 1, 2)]

    await Reading.bulk_create([Reading(id=UUID(int=place + 1), **values) for place, values in enumerate(told)])

    rows = await Reading.all().order_by("id")
    assert [{column: getattr(row, column) for column in COLUMNS} for row in rows] == told


@pytest.mark.parametrize(("column", "value"), REFUSED, ids=[f"{column}-{n}" for n, (column, _) in enumerate(REFUSED)])
async def test_what_does_not_fit_is_refused_by_name_and_nothing_is_written(
    database: asyncpg.Connection, column: str, value: Any
) -> None:
    row = await Reading.create(note="before")

    with pytest.raises(InvalidInputError) as made:
        await Reading.create(**{column: value})
    setattr(row, column, value)
    with pytest.raises(InvalidInputError) as changed:
        await row.save()

    for caught in (made, changed):
        assert caught.value.field == (column,)
        assert len(str(value)) < 4 or str(value) not in caught.value.message
    (found,) = await database.fetch("select * from reading")
    assert [name for name in COLUMNS if found[name] is not None] == ["note"]
    assert (await Reading.get(id=row.id)).note == "before"


@pytest.mark.parametrize(
    ("latitude", "longitude"), [(90.1, 0.0), (0.0, -180.1), (math.nan, 0.0)], ids=["north", "west", "nowhere"]
)
async def test_a_place_out_of_range_can_not_be_made_and_not_be_read(
    database: asyncpg.Connection, latitude: float, longitude: float
) -> None:
    row = await Reading.create(place=Point(1, 2))
    cell = Cell(ACME, "reading", "place", row.id)
    await database.execute("update reading set place = $1", seal(_key(), cell, f"[{longitude},{latitude}]"))

    with pytest.raises(ValueError, match="latitude"):
        Point(latitude, longitude)
    with pytest.raises(TamperedError):
        _ = (await Reading.get(id=row.id)).place


@pytest.mark.parametrize("column", [name for name in COLUMNS if name != "note"])
async def test_a_text_that_is_no_value_of_the_type_is_no_value(database: asyncpg.Connection, column: str) -> None:
    row = await Reading.create(note="here")
    sealed = seal(_key(), Cell(ACME, "reading", column, row.id), "no such value")
    await database.execute(f"update reading set {column} = $1", sealed)

    found = await Reading.get(id=row.id)
    for _ in range(2):
        with pytest.raises(TamperedError):
            getattr(found, column)
    assert found.note == "here"


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("column", COLUMNS)
async def test_no_type_is_compared_in_a_query(column: str) -> None:
    with pytest.raises(EncryptedLookupError):
        Reading.filter(**{column: VALUES[column][0]}).sql()
    with pytest.raises(EncryptedLookupError):
        await Reading.all().update(**{column: VALUES[column][0]})
