"""The encrypted column: a value in Python, ciphertext in PostgreSQL, opened when it is read and not before.

Reading `record.comment` opens the value in memory, once, with the active keyring. It waits for nothing:
without the key it raises `SealedError`. Rows that nobody reads are never opened, and a value that was only
read is written back as it was stored. Writing keeps plain text on the instance and seals it on its way into
the database.

A value is bound to its row, so `id`, `organization_id` and the owner's column are set before the row is saved. The
database can't look into a value, so a query that compares, orders or computes by one is refused when it is built;
`__isnull` alone is allowed, and equality has `blind_index`. What is written past this column, by SQL or by an update
that copies another column of bytes, does not open.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal, NoReturn, Protocol, TypeVar, overload

from pypika_tortoise.context import SqlContext
from pypika_tortoise.terms import Criterion, Term
from tortoise.exceptions import ConfigurationError
from tortoise.fields import Field
from tortoise.filters import is_null, not_null
from tortoise.models import Model, ModelMeta

from auth.principal import SYSTEM_ID
from models.encryption.codec import Codec, Text, read_back
from models.encryption.envelope import Cell, KeyOwner, KeyPurpose, OwnerKind, key_id_of, open_sealed, seal
from models.encryption.keyring import active_keyring
from models.encryption.owner import organization_owner, person_owner, subject_owner
from models.errors import EncryptedLookupError, InvalidInputError, SealedError

TENANT: Final = "organization_id"

V = TypeVar("V")
W = TypeVar("W")


class RowValues(Protocol):
    """A row's values by column: a mapping, or a light row."""

    def __getitem__(self, name: str, /) -> Any: ...

    def get(self, name: str, /) -> Any:
        """Return the column's value; None where there is no such column."""


def open_light(blob: bytes, cell: Cell) -> str:
    """Return the text of a stored value of a row that is no instance.

    Raises:
        SealedError: its key is not in memory, or no keyring is active.
        TamperedError: it does not open in that cell.
    """
    return open_sealed(active_keyring().key_of(blob), cell, blob)


def seal_light(field: "EncryptedField[Any]", row: Mapping[str, Any]) -> bytes | None:
    """Return the column's value of a row that is no instance, sealed for its cell; None where it has none.

    row: by column, with the row's id, its organization where it has one, and the owner's column.

    Raises:
        InvalidInputError: it is no value that fits the column.
        SealedError: the key is not in memory.
    """
    value = row.get(field.model_field_name)
    if value is None and field.null:
        return None
    return reseal(field, row, field.text_of(value))


def reseal(field: "EncryptedField[Any]", row: RowValues, text: str) -> bytes:
    """Return a text that was sealed for the row's cell, sealed for it anew under its owner's current key.

    Raises:
        SealedError: the key is not in memory.
    """
    meta = field.model._meta
    organization_id = (row[TENANT] if TENANT in meta.fields_map else None) or SYSTEM_ID
    cell = Cell(organization_id, meta.db_table, field.model_field_name, row[meta.pk_attr])
    return seal(active_keyring().current(field.owner_in(row)), cell, text, pad=field.pad)


async def load_keys_for(instances: Iterable[Model], *columns: str) -> None:
    """Bring the keys of the instances' sealed values into memory, in one statement: of the columns, or of all."""
    values = (
        vars(instance).get(field.model_field_name)
        for instance in instances
        for field in _encrypted(instance)
        if not columns or field.model_field_name in columns
    )
    await active_keyring().load_ids({key_id_of(value.blob) for value in values if isinstance(value, Sealed)})


class Sealed:
    """A value as it is stored. Printing, comparing and copying never touch what is inside; pickling is
    refused."""

    __slots__ = ("_cell", "_value", "blob")

    def __init__(self, blob: bytes) -> None:
        self.blob = blob
        self._cell: Cell | None = None
        self._value: Any = None

    def open(self, cell: Cell, codec: type[Codec[V]]) -> V:
        """Return the value, which is opened in the cell the first time and kept. Raises as `open_light`
        does."""
        if self._cell is None:
            self._value = read_back(codec, open_light(self.blob, cell))
            self._cell = cell
        value: V = self._value
        return value

    @property
    def is_open(self) -> bool:
        """Whether `open` has been through."""
        return self._cell is not None

    def holds(self, value: Any, cell: Cell) -> bool:
        """Return whether the stored bytes are known to be this very value, in this cell."""
        return self._value is value and self._cell == cell

    def __repr__(self) -> str:
        return "<sealed>"

    def __deepcopy__(self, memo: dict[int, Any]) -> "Sealed":
        return self

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError("A sealed value is not written out.")


class EncryptedField(Field[V]):
    """A column of which the database holds ciphertext alone.

    max_length: the most characters of the plain text.
    codec: the type of its values.
    null: whether there may be no value. That there is none is not hidden.
    owner_column: the attribute that says under whose key the value is sealed: the id of a person, or of an export or a
        file that is imported, by `owner_kind`; where that is SUBJECT, the blind index of the name or address of
        somebody whom the organization's data name. Where it is None, and without an owner column, it is the key of the
        row's organization.
    purpose: which of the owner's keys it is.
    pad: hide the length of short values.
    """

    field_type = object
    indexable = False
    SQL_TYPE = "BYTEA"

    @overload
    def __init__(
        self: "EncryptedField[W]",
        max_length: int,
        *,
        codec: type[Codec[W]],
        null: Literal[False] = False,
        owner_column: str | None = None,
        owner_kind: OwnerKind = OwnerKind.PERSON,
        purpose: KeyPurpose = KeyPurpose.VALUES,
        pad: bool = False,
        **options: Any,
    ) -> None: ...

    @overload
    def __init__(
        self: "EncryptedField[W | None]",
        max_length: int,
        *,
        codec: type[Codec[W]],
        null: Literal[True],
        owner_column: str | None = None,
        owner_kind: OwnerKind = OwnerKind.PERSON,
        purpose: KeyPurpose = KeyPurpose.VALUES,
        pad: bool = False,
        **options: Any,
    ) -> None: ...

    @overload
    def __init__(
        self: "EncryptedField[str]",
        max_length: int,
        *,
        null: Literal[False] = False,
        owner_column: str | None = None,
        owner_kind: OwnerKind = OwnerKind.PERSON,
        purpose: KeyPurpose = KeyPurpose.VALUES,
        pad: bool = False,
        **options: Any,
    ) -> None: ...

    @overload
    def __init__(
        self: "EncryptedField[str | None]",
        max_length: int,
        *,
        null: Literal[True],
        owner_column: str | None = None,
        owner_kind: OwnerKind = OwnerKind.PERSON,
        purpose: KeyPurpose = KeyPurpose.VALUES,
        pad: bool = False,
        **options: Any,
    ) -> None: ...

    def __init__(
        self,
        max_length: int,
        *,
        codec: type[Codec[Any]] = Text,
        null: bool = False,
        owner_column: str | None = None,
        owner_kind: OwnerKind = OwnerKind.PERSON,
        purpose: KeyPurpose = KeyPurpose.VALUES,
        pad: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(null=null, **options)
        # A default of the database could not be sealed, and the column's name is part of what a value is
        # bound to.
        if self.has_db_default() or self.source_field or self.pk:
            raise ConfigurationError("An encrypted column has no db_default, no source_field, and is no key.")
        self.max_length = max_length
        self.codec = codec
        self.owner_column = owner_column
        self.owner_kind = owner_kind
        self.purpose = purpose
        self.pad = pad

    class _db_postgres:  # noqa: N801 - the name by which Tortoise finds it
        def function_cast(self: Any, term: Term) -> Term:
            """Stand for the column wherever a query uses it for more than selecting it."""
            return _Unreadable(self, term)

    def to_python_value(self, value: Any) -> Any:
        """Box what comes from the database; what the program sets stays as it is."""
        return Sealed(value) if isinstance(value, bytes) else value

    def to_db_value(self, value: Any, instance: type[Model] | Model | None) -> bytes | None:
        """Return the value sealed for the instance's row.

        Raises:
            InvalidInputError: it is no value that fits the column.
            SealedError: the key is not in memory, or the row's id or organization is not set.
            EncryptedLookupError: there is no row: a filter, or an update of many rows at once.
        """
        if value is None and self.null:
            return None
        if instance is None or isinstance(instance, type):
            self.refuse()
        text = self.text_of(value)
        cell = cell_of(instance, self)
        stored = vars(instance).get(self.model_field_name)
        if isinstance(stored, Sealed) and stored.holds(value, cell):
            return stored.blob
        return seal(active_keyring().current(self.owner_in(vars(instance))), cell, text, pad=self.pad)

    def refuse(self) -> NoReturn:
        """Raise `EncryptedLookupError` for a query that would touch the content."""
        table = self.model._meta.db_table
        raise EncryptedLookupError(
            f"{table}.{self.model_field_name} is encrypted: a query may ask whether it is null, nothing else."
            " Search by its blind index; change it row by row."
        )

    def text_of(self, value: Any) -> str:
        """Return the text that is sealed of a value. Raises `InvalidInputError` unless it fits the column."""
        at = (self.model_field_name,)
        wanted = self.codec.python_type
        if not isinstance(value, wanted) or (self.codec.is_strict and type(value) is not wanted):
            raise InvalidInputError(f"Expected {self.codec.expected}.", field=at)
        try:
            text = self.codec.encode(value)
        except (ValueError, TypeError, ArithmeticError):
            raise InvalidInputError(f"Expected {self.codec.expected}.", field=at) from None
        if len(text) > self.max_length:
            raise InvalidInputError(f"Expected at most {self.max_length} characters, got {len(text)}.", field=at)
        if "\0" in text:
            raise InvalidInputError("Expected a text without NUL characters.", field=at)
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InvalidInputError("Expected a text without lone surrogates.", field=at) from None
        return text

    def owner_in(self, row: RowValues) -> KeyOwner:
        """Return whose key seals a row's value of the column. row: by column, with the owner's.

        Raises:
            SealedError: that is not known.
        """
        meta = self.model._meta
        organization_id = row.get(TENANT) if TENANT in meta.fields_map else SYSTEM_ID
        if self.owner_column is not None:
            try:
                named = row[self.owner_column]
            except KeyError:
                # Not selected is not the same as none: the value would be sealed under a key that outlives the person.
                name = f"{meta.db_table}.{self.model_field_name}"
                raise SealedError(f"{name} needs its row's {self.owner_column}.") from None
            if named is not None:
                if self.owner_kind is OwnerKind.PERSON:
                    return person_owner(named)
                if self.owner_kind is OwnerKind.SUBJECT:
                    return subject_owner(organization_id or SYSTEM_ID, named, self.purpose)
                return KeyOwner(self.owner_kind, named, self.purpose, organization_id or SYSTEM_ID)
        return organization_owner(organization_id or SYSTEM_ID, self.purpose)


def cell_of(instance: Model, field: EncryptedField[Any]) -> Cell:
    """Return where the instance's value of the column lives. Raises `SealedError` if its row is not known."""
    meta, values = instance._meta, vars(instance)
    organization_id = values.get(TENANT) if TENANT in meta.fields_map else SYSTEM_ID
    row_id = values.get(meta.pk_attr)
    if organization_id is None or row_id is None:
        raise SealedError(f"{meta.db_table}.{field.model_field_name} needs its row's {meta.pk_attr} and {TENANT}.")
    return Cell(organization_id, meta.db_table, field.model_field_name, row_id)


class WardModelMeta(ModelMeta):
    """Makes models whose encrypted columns open when they are read, and are refused in queries."""

    def __new__(cls, name: str, bases: tuple[type, ...], attrs: dict[str, Any]) -> "WardModelMeta":
        model = super().__new__(cls, name, bases, attrs)
        for field in _encrypted(model):
            # Tortoise takes fields off the class; this puts something in their place that knows the instance.
            type.__setattr__(model, field.model_field_name, _Attribute(field))
            _refuse_filters(model, field)
        return model  # type: ignore[return-value]  # what Tortoise declares is its own metaclass


class _Attribute:
    """The data descriptor of an encrypted column."""

    __slots__ = ("_field", "_name")

    def __init__(self, field: EncryptedField[Any]) -> None:
        self._field = field
        self._name = field.model_field_name

    def __get__(self, instance: Model | None, owner: type[Model]) -> Any:
        if instance is None:
            return self._field
        try:
            value = instance.__dict__[self._name]
        except KeyError:
            raise SealedError(f"{owner._meta.db_table}.{self._name} was not selected.") from None
        if type(value) is not Sealed:
            return value
        return value._value if value.is_open else value.open(cell_of(instance, self._field), self._field.codec)

    def __set__(self, instance: Model, value: Any) -> None:
        instance.__dict__[self._name] = value


class _Unreadable(Term):
    """An encrypted column inside a query's expression: a query that holds one is never made into SQL."""

    def __init__(self, field: EncryptedField[Any], column: Term) -> None:
        super().__init__()
        self._field = field
        self.column = column

    def get_sql(self, ctx: SqlContext) -> NoReturn:  # noqa: ARG002 - the base's signature
        self._field.refuse()


def _encrypted(model: Any) -> list[EncryptedField[Any]]:
    return [field for field in model._meta.fields_map.values() if isinstance(field, EncryptedField)]


def _refuse_filters(model: Any, field: EncryptedField[Any]) -> None:
    def refuse(*_: Any) -> NoReturn:
        field.refuse()

    name, filters = field.model_field_name, model._meta._filters
    allowed = {f"{name}__isnull": is_null, f"{name}__not_isnull": not_null}
    for lookup, info in filters.items():
        if info.get("field") != name:
            continue
        if lookup in allowed:
            filters[lookup] = {**info, "operator": _of_column(allowed[lookup])}
        else:
            filters[lookup] = {**info, "operator": refuse, "value_encoder": refuse}


def _of_column(operator: Callable[[Term, Any], Criterion]) -> Callable[[Term, Any], Criterion]:
    def operate(term: Term, value: Any) -> Criterion:
        return operator(term.column if isinstance(term, _Unreadable) else term, value)

    return operate
