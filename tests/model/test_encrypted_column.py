"""What an encrypted column promises, on a small table of its own."""

import copy
import itertools
import pickle
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from tortoise import Tortoise, fields
from tortoise.context import TortoiseContext
from tortoise.exceptions import OperationalError
from tortoise.expressions import F, Q
from tortoise.fields import Field
from tortoise.functions import Count, Lower, Max
from tortoise.migrations.operations import AddField
from tortoise.migrations.writer import MigrationWriter
from tortoise.models import Model

from auth.principal import SYSTEM_ID
from fieldward.embedded import EmbeddedPostgres
from models.base import new_id
from models.encryption.codec import Text
from models.encryption.column import EncryptedField, Sealed, WardModelMeta, load_keys_for, open_light
from models.encryption.envelope import Cell, DataKey, KeyOwner, OwnerKind, key_id_of
from models.encryption.file_provider import FileKeyProvider
from models.encryption.keyring import Keyring
from models.encryption.keystore import KeyStore
from models.errors import EncryptedLookupError, InvalidInputError, SealedError, TamperedError

ACME, OTHER = UUID(int=1), UUID(int=2)
ANA, BEN = UUID(int=3), UUID(int=4)
KEYS = {
    owner: DataKey(UUID(int=number), owner, bytes([number]) * 32)
    for number, owner in enumerate(
        [
            KeyOwner(OwnerKind.SYSTEM, SYSTEM_ID),
            KeyOwner(OwnerKind.ORGANIZATION, ACME),
            KeyOwner(OwnerKind.ORGANIZATION, OTHER),
            KeyOwner(OwnerKind.PERSON, ANA),
            KeyOwner(OwnerKind.PERSON, BEN),
        ],
        start=1,
    )
}


class Visit(Model, metaclass=WardModelMeta):
    """A table of a tenant."""

    id = fields.UUIDField(primary_key=True, default=new_id)
    organization_id = fields.UUIDField()
    visitor_id = fields.UUIDField(null=True)
    site = fields.CharField(max_length=20, default="W-1")
    comment = EncryptedField(max_length=40, null=True)
    name = EncryptedField(max_length=40, null=True, owner_column="visitor_id", pad=True)

    class Meta:
        table = "visit"


class Photo(Model, metaclass=WardModelMeta):
    """A table that refers to another."""

    id = fields.UUIDField(primary_key=True, default=new_id)
    organization_id = fields.UUIDField()
    visit: fields.ForeignKeyRelation[Visit] = fields.ForeignKeyField("trial.Visit", related_name="photos")

    class Meta:
        table = "photo"


class Account(Model, metaclass=WardModelMeta):
    """A table of no tenant."""

    id = fields.UUIDField(primary_key=True, default=new_id)
    email = EncryptedField(max_length=40)

    class Meta:
        table = "account"


_numbers = itertools.count(1)


def a_keyring() -> Keyring:
    """A keyring without keys, which can't load any."""
    return Keyring(KeyStore(), FileKeyProvider(bytes(32)), lifetime_s=60)


@pytest.fixture
def keyring() -> Keyring:
    """A keyring that holds the keys of all owners."""
    keyring = a_keyring()
    for owner, key in KEYS.items():
        keyring.add(DataKey(key.id, owner, bytes(key._secret)), is_current=True)
    return keyring


@pytest.fixture
async def database(postgres: EmbeddedPostgres, keyring: Keyring) -> AsyncIterator[asyncpg.Connection]:
    """The tables, reached through Tortoise with the keyring active; yields a connection past the ORM."""
    name = f"column_test_{next(_numbers)}"
    anywhere: dict[str, Any] = {**postgres.superuser().dsn_parameters()}
    superuser = await asyncpg.connect(**anywhere)
    await superuser.execute(f"create database {name}")
    parameters: dict[str, Any] = {**postgres.superuser(name).dsn_parameters()}
    credentials = {**parameters, "minsize": 1, "maxsize": 2}
    async with TortoiseContext() as context:
        await context.init(
            config={
                "connections": {"default": {"engine": "tortoise.backends.asyncpg", "credentials": credentials}},
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


async def a_visit(**values: Any) -> Visit:
    """A saved visit, read again as the database has it."""
    row = await Visit.create(**{"organization_id": ACME, "comment": "Low flow", **values})
    return await Visit.get(id=row.id)


def stored(row: Model, name: str) -> Any:
    """What the instance holds for a column, without opening it."""
    return vars(row)[name]


@pytest.mark.usefixtures("database")
class TestReadingAndWriting:
    async def test_text_comes_back(self) -> None:
        row = await a_visit(comment="Jürgen saw a heron 😀", name="Ana Ruiz", visitor_id=ANA)

        assert (row.comment, row.name) == ("Jürgen saw a heron 😀", "Ana Ruiz")

    async def test_absence_is_kept_and_needs_no_key(self) -> None:
        row = await a_visit(comment=None)

        with a_keyring().activate():
            assert row.comment is None

    async def test_the_table_holds_ciphertext_alone(self, database: asyncpg.Connection) -> None:
        row = await a_visit(comment="Low flow", name="Ana", visitor_id=ANA)

        (found,) = await database.fetch("select comment, name, pg_typeof(comment)::text as type from visit")
        assert b"Low flow" not in found["comment"]
        assert b"Ana" not in found["name"]
        assert found["type"] == "bytea"
        assert (row.comment, row.name) == ("Low flow", "Ana")

    async def test_a_light_row_opens_in_the_same_cell(self, database: asyncpg.Connection) -> None:
        row = await a_visit()

        blob = await database.fetchval("select comment from visit where id = $1", row.id)
        assert open_light(blob, Cell(ACME, "visit", "comment", row.id)) == "Low flow"

    async def test_a_value_is_sealed_under_the_organizations_or_the_persons_key(self) -> None:
        about = await a_visit(visitor_id=ANA, name="Ana")
        about_nobody = await a_visit(name="Someone")

        assert key_id_of(stored(about, "comment").blob) == KEYS[KeyOwner(OwnerKind.ORGANIZATION, ACME)].id
        assert key_id_of(stored(about, "name").blob) == KEYS[KeyOwner(OwnerKind.PERSON, ANA)].id
        assert key_id_of(stored(about_nobody, "name").blob) == KEYS[KeyOwner(OwnerKind.ORGANIZATION, ACME)].id

    async def test_a_table_of_no_tenant_uses_the_installations_key(self) -> None:
        account = await Account.create(email="ana@example.org")
        again = await Account.get(id=account.id)

        assert key_id_of(stored(again, "email").blob) == KEYS[KeyOwner(OwnerKind.SYSTEM, SYSTEM_ID)].id
        assert again.email == "ana@example.org"

    async def test_many_rows_are_created_and_updated_at_once(self) -> None:
        await Visit.bulk_create([Visit(organization_id=ACME, comment=f"Visit {n}") for n in range(3)])
        rows = await Visit.all()
        for row in rows:
            row.comment = f"{row.comment}!"
        await Visit.bulk_update(rows, fields=["comment"])

        assert sorted([str(row.comment) for row in await Visit.all()]) == ["Visit 0!", "Visit 1!", "Visit 2!"]

    async def test_short_names_are_of_one_length_in_the_table(self) -> None:
        rows = [await a_visit(name=name, visitor_id=ANA) for name in ("Li", "Maria-Theresia Hoffmann")]

        assert len({len(stored(row, "name").blob) for row in rows}) == 1

    async def test_a_refreshed_row_shows_what_another_wrote(self) -> None:
        row = await a_visit()
        other = await Visit.get(id=row.id)
        other.comment = "High flow"
        await other.save(update_fields=["comment"])

        assert row.comment == "Low flow"
        await row.refresh_from_db()
        assert row.comment == "High flow"


@pytest.mark.usefixtures("database")
class TestLaziness:
    async def test_a_row_that_nobody_reads_is_never_opened(self) -> None:
        row = await a_visit()

        assert isinstance(stored(row, "comment"), Sealed)
        assert not stored(row, "comment").is_open

    async def test_a_row_loads_without_its_key_and_reading_it_then_raises(self) -> None:
        await a_visit()

        with a_keyring().activate():
            (row,) = await Visit.all()
            assert row.site == "W-1"
            with pytest.raises(SealedError):
                _ = row.comment

    async def test_without_an_active_keyring_reading_raises(self, keyring: Keyring) -> None:
        row = await a_visit()
        keyring.wipe()

        with pytest.raises(SealedError):
            _ = row.comment

    async def test_an_opened_value_stays_readable_on_its_instance(self) -> None:
        row = await a_visit()
        assert row.comment == "Low flow"

        with a_keyring().activate():
            assert row.comment == "Low flow"

    async def test_prefetched_and_joined_rows_stay_sealed(self) -> None:
        row = await a_visit()
        await Photo.create(organization_id=ACME, visit=row)

        (joined,) = await Photo.all().select_related("visit")
        (prefetched,) = await Photo.all().prefetch_related("visit")
        for photo in (joined, prefetched):
            assert not stored(photo.visit, "comment").is_open
            assert photo.visit.comment == "Low flow"

    async def test_values_give_sealed_boxes(self) -> None:
        await a_visit()

        assert [str(value["comment"]) for value in await Visit.all().values("comment")] == ["<sealed>"]
        assert str(await Visit.all().values_list("comment", flat=True)) == "[<sealed>]"

    async def test_the_keys_of_rows_are_asked_for_by_what_is_still_sealed(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        row = await a_visit(visitor_id=ANA, name="Ana")
        asked: list[set[UUID]] = []

        async def note(self: Keyring, key_ids: set[UUID]) -> None:
            asked.append(key_ids)

        monkeypatch.setattr(Keyring, "load_ids", note)
        await load_keys_for([row, await a_visit(comment=None)])
        await load_keys_for([row], "name")

        acme, ana = KEYS[KeyOwner(OwnerKind.ORGANIZATION, ACME)].id, KEYS[KeyOwner(OwnerKind.PERSON, ANA)].id
        assert asked == [{acme, ana}, {ana}]

    async def test_a_column_that_was_not_selected_is_named(self) -> None:
        await a_visit()

        (row,) = await Visit.all().only("id", "organization_id")
        with pytest.raises(SealedError, match=r"visit\.comment was not selected"):
            _ = row.comment

    async def test_what_a_value_is_bound_to_must_be_selected_with_it(self) -> None:
        await a_visit()

        (row,) = await Visit.all().only("comment")
        with pytest.raises(SealedError, match="organization_id"):
            _ = row.comment

    async def test_saving_a_row_that_was_only_read_leaves_the_ciphertext_as_it_is(
        self, database: asyncpg.Connection
    ) -> None:
        row = await a_visit()
        before = await database.fetchval("select comment from visit")
        row.site = "W-2"
        await row.save()

        (found,) = await database.fetch("select site, comment from visit")
        assert (found["site"], found["comment"]) == ("W-2", before)

    async def test_saving_other_columns_needs_no_key(self) -> None:
        row = await a_visit()
        row.site = "W-2"

        with a_keyring().activate():
            await row.save(update_fields=["site"])
        assert (await Visit.get(id=row.id)).comment == "Low flow"

    async def test_a_clone_is_sealed_for_its_own_row(self) -> None:
        row = await a_visit()
        assert row.comment == "Low flow"
        clone = row.clone(pk=new_id())
        await clone.save()

        assert (await Visit.get(id=clone.id)).comment == "Low flow"

    async def test_a_clone_of_an_unopened_row_does_not_open_elsewhere(self) -> None:
        clone = (await a_visit()).clone(pk=new_id())

        with pytest.raises(TamperedError):
            await clone.save()


@pytest.mark.usefixtures("database")
class TestTampering:
    @pytest.mark.parametrize(
        "statement",
        [
            "update visit v set comment = w.comment from visit w where w.id <> v.id",
            "update visit set comment = name",
            f"update visit set organization_id = '{OTHER}'",
            "update visit set comment = set_byte(comment, 60, get_byte(comment, 60) # 1)",
            "update visit set comment = substring(comment for 70)",
            r"update visit set comment = '\x'",
            "update visit set comment = 'Low flow'::bytea",
        ],
        ids=["row", "column", "organization", "bit", "truncated", "empty", "plain"],
    )
    async def test_a_value_changed_past_the_orm_does_not_open(
        self, database: asyncpg.Connection, statement: str
    ) -> None:
        for _ in range(2):
            await a_visit(name="Someone")
        await database.execute(statement)

        for row in await Visit.all():
            with pytest.raises(TamperedError):
                _ = row.comment


@pytest.mark.usefixtures("database")
class TestRefusedQueries:
    @pytest.mark.parametrize(
        "lookup",
        [
            *("comment", "comment__not", "comment__in", "comment__not_in", "comment__contains"),
            *("comment__icontains", "comment__startswith", "comment__istartswith", "comment__endswith"),
            *("comment__iendswith", "comment__iexact", "comment__search", "comment__gt", "comment__gte"),
            *("comment__lt", "comment__lte", "comment__range", "comment__posix_regex", "comment__year"),
        ],
    )
    async def test_no_lookup_reaches_the_ciphertext(self, lookup: str) -> None:
        value: Any = ["Low flow", "x"] if lookup.endswith(("in", "range")) else "Low flow"

        for query in (
            Visit.filter(**{lookup: value}),
            Visit.exclude(**{lookup: value}),
            Visit.filter(Q(site="W-1") | ~Q(**{lookup: value})),
            Photo.filter(**{f"visit__{lookup}": value}),
        ):
            with pytest.raises(EncryptedLookupError, match=r"visit\.comment"):
                query.sql()

    async def test_every_lookup_that_tortoise_knows_is_refused_but_absence(self) -> None:
        lookups = {lookup for lookup, info in Visit._meta.filters.items() if info["field"] == "comment"}

        for lookup in lookups - {"comment__isnull", "comment__not_isnull"}:
            with pytest.raises(EncryptedLookupError):
                Visit.filter(**{lookup: "x"}).sql()

    async def test_absence_may_be_asked_for(self) -> None:
        row, empty = await a_visit(), await a_visit(comment=None)

        assert await Visit.filter(comment__isnull=False) == [row]
        assert await Visit.filter(comment__not_isnull=True) == [row]
        assert await Visit.filter(comment__isnull=True) == [empty]
        assert await Visit.filter(comment=None) == [empty]

    async def test_comparing_with_another_column_is_refused(self) -> None:
        for query in (Visit.filter(comment=F("site")), Visit.filter(site=F("comment"))):
            with pytest.raises(EncryptedLookupError):
                query.sql()

    async def test_ordering_is_refused(self) -> None:
        for query in (
            Visit.all().order_by("comment"),
            Visit.all().order_by("-site", "-comment"),
            Photo.all().order_by("visit__comment"),
        ):
            with pytest.raises(EncryptedLookupError):
                query.sql()

    async def test_computing_is_refused(self) -> None:
        for query in (
            Visit.annotate(x=Lower("comment")).values("x"),
            Visit.annotate(x=F("comment")).values("x"),
            Visit.annotate(x=Max("comment")).values("x"),
            Visit.annotate(x=F("comment")).filter(x="Low flow"),
            Photo.annotate(x=Count("visit__comment")).values("x"),
        ):
            with pytest.raises(EncryptedLookupError):
                query.sql()

    async def test_an_update_of_many_rows_at_once_is_refused(self) -> None:
        await a_visit()

        with pytest.raises(EncryptedLookupError):
            await Visit.all().update(comment="High flow")
        with pytest.raises(EncryptedLookupError):
            await Visit.all().update(comment=F("name"))
        with pytest.raises(OperationalError, match="bytea"):
            await Visit.all().update(comment=F("site"))
        await Visit.all().update(site="W-2")
        await Visit.all().update(comment=None)
        assert [(row.site, row.comment) for row in await Visit.all()] == [("W-2", None)]


@pytest.mark.usefixtures("database")
class TestChecks:
    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ("x" * 41, "at most 40 characters, got 41"),
            ("nul\0", "NUL"),
            ("\ud800", "surrogates"),
            (7, "a text"),
            (["x"], "a text"),
        ],
    )
    async def test_what_does_not_fit_is_refused_before_it_is_sealed(self, value: Any, message: str) -> None:
        with pytest.raises(InvalidInputError, match=message) as caught:
            await Visit.create(organization_id=ACME, comment=value)

        assert caught.value.field == ("comment",)
        assert await Visit.all().count() == 0

    async def test_the_limit_counts_characters_and_not_bytes(self) -> None:
        assert (await a_visit(comment="😀" * 40)).comment == "😀" * 40

    async def test_bytes_can_not_be_passed_off_as_sealed(self) -> None:
        with pytest.raises(TamperedError):
            await Visit.create(organization_id=ACME, comment=b"Low flow")

    async def test_a_column_that_must_have_a_value_has_one(self) -> None:
        account = await Account.create(email="ana@example.org")
        account.email = None  # type: ignore[assignment]  # what a careless caller does

        with pytest.raises(InvalidInputError):
            await account.save(update_fields=["email"])

    async def test_a_row_without_organization_or_key_is_not_sealed(self) -> None:
        with pytest.raises(SealedError):
            await Visit(comment="Low flow").save()
        with a_keyring().activate(), pytest.raises(SealedError):
            await Visit.create(organization_id=ACME, comment="Low flow")

    async def test_a_person_who_was_not_selected_is_not_taken_for_none(self) -> None:
        await a_visit(visitor_id=ANA, name="Ana")

        (row,) = await Visit.all().only("id", "organization_id", "name")
        row.name = "Ben"
        with pytest.raises(SealedError, match="visitor_id"):
            await row.save(update_fields=["name"])


class TestShowing:
    def test_a_sealed_value_shows_nothing_opened_or_not(self, keyring: Keyring) -> None:
        row = Visit(id=new_id(), organization_id=ACME)
        with keyring.activate():
            blob = Visit._meta.fields_map["comment"].to_db_value("Low flow", row)
            box = Sealed(blob)
            shown = [repr(box), str(box), f"{box}"]
            assert box.open(Cell(ACME, "visit", "comment", row.id), Text) == "Low flow"

        assert {*shown, repr(box), str(box), f"{box}", f"{[box]}"} == {"<sealed>", "[<sealed>]"}

    def test_sealed_values_are_equal_to_themselves_alone(self) -> None:
        box = Sealed(b"x")

        assert box == copy.deepcopy(box)
        assert box != Sealed(b"x")

    def test_a_sealed_value_is_not_written_out(self) -> None:
        with pytest.raises(TypeError):
            pickle.dumps(Sealed(b"x"))


class TestDeclaring:
    def test_a_migration_writes_the_column_as_it_was_declared(self) -> None:
        declared = Visit._meta.fields_map["name"]
        text = MigrationWriter("0002", "trial", [AddField("Visit", "name", declared)]).as_string()

        assert "from models.encryption.column import EncryptedField" in text
        assert "EncryptedField(null=True, max_length=40, codec=Text, owner_column='visitor_id'," in text
        _, arguments, options = declared.deconstruct()
        assert EncryptedField(*arguments, **options).deconstruct() == declared.deconstruct()

    def test_the_class_gives_the_column(self) -> None:
        assert isinstance(Visit.comment, Field)

    @pytest.mark.parametrize(
        "options",
        [{"unique": True}, {"db_index": True}, {"primary_key": True}, {"source_field": "x"}, {"db_default": "x"}],
        ids=lambda options: next(iter(options)),
    )
    def test_what_ciphertext_can_not_do_is_refused(self, options: dict[str, Any]) -> None:
        with pytest.raises(Exception, match=r"can't be indexed|encrypted column"):
            EncryptedField(max_length=10, **options)
