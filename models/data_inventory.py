"""What is stored, how it is protected, who may read it and how long it is kept: composed for people and programs.

Everything follows from what the models declare (`models/inventory.py`) and from the one matrix of roles
(`auth/role.py`). `docs/data-inventory.md`, the query `dataInventory` and `fieldward inventory` show this and nothing
else. It holds no value of anybody's and is the same for every organization.
"""

import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from inspect import cleandoc
from typing import Any, Final

from tortoise import fields
from tortoise.contrib.postgres.fields import ArrayField
from tortoise.fields import Field
from tortoise.fields.data import CharEnumFieldInstance

from auth.access import Permissions
from auth.classification import Classification
from auth.permission import Permission
from auth.role import ORGANIZATION_ROLES, PROJECT_ROLES, SELF, OrganizationRole, ProjectRole
from models.base import Kept, Storage, TenantModel
from models.encryption.column import TENANT, EncryptedField
from models.encryption.envelope import KeyPurpose, OwnerKind
from models.inventory import Column, Entity, InventoryError, entities

OWN: Final = "own"
"""The column of what everyone may do with what is their own, whatever their role."""
ROLES: Final = (*map(str, ORGANIZATION_ROLES), *map(str, PROJECT_ROLES), OWN)

_TYPES: Final[tuple[tuple[type[Field[Any]], str], ...]] = (
    (fields.UUIDField, "UUID"),
    (fields.CharField, "text"),
    (fields.DatetimeField, "time"),
    (fields.DateField, "date"),
    (fields.FloatField, "number"),
    (fields.BigIntField, "whole number"),
    (fields.IntField, "whole number"),
    (fields.BinaryField, "bytes"),
    (fields.JSONField, "JSON"),
    (fields.BooleanField, "yes or no"),
)
_OF_INDEX_KEY: Final = frozenset({Storage.BLIND_INDEX, Storage.CONTENT_DIGEST})


class Place(StrEnum):
    """Where the rows of a table lie. INSTALLATION: outside the organizations, which see their own people's."""

    INSTALLATION = "INSTALLATION"
    ORGANIZATION = "ORGANIZATION"
    PROJECT = "PROJECT"


class Instead(StrEnum):
    """What is answered who sees the row and may not read the column.

    NOTHING: seeing the row is enough to read it. NOT_IN_API: nobody reads it there.
    """

    NOTHING = "NOTHING"
    NULL_AND_ERROR = "NULL_AND_ERROR"
    PSEUDONYM = "PSEUDONYM"
    NOT_IN_API = "NOT_IN_API"


@dataclass(frozen=True, slots=True)
class KeyFact:
    """The data key under which a column's values are sealed, or fingerprinted.

    owners: whose it is, the first of them that there is. named_by: the column that says which person's or subject's;
    None where it is the row's organization's, or the installation's.
    """

    owners: tuple[OwnerKind, ...]
    purpose: KeyPurpose
    named_by: str | None = None


@dataclass(frozen=True, slots=True)
class Readers:
    """Built-in roles in the organization, those in a project, which count there, and whether everyone has it as own."""

    organization_roles: tuple[OrganizationRole, ...]
    project_roles: tuple[ProjectRole, ...]
    own: bool

    @property
    def roles(self) -> tuple[str, ...]:
        """Those of `ROLES` that are meant."""
        return (*map(str, self.organization_roles), *map(str, self.project_roles), *([OWN] if self.own else ()))


@dataclass(frozen=True, slots=True)
class DataColumn:
    """A column: what it holds, how that is protected, and who may read it where they see the row.

    type: in words. is_padded: whether the length of short values is hidden. index_column: the column beside it that
    holds its blind index. permission: what reading takes in the scope of the row; None where seeing the row is enough,
    or nobody reads it.
    """

    name: str
    type: str
    is_nullable: bool
    classification: Classification
    storage: Storage
    key: KeyFact | None
    is_padded: bool
    index_column: str | None
    permission: Permission | None
    otherwise: Instead
    reads_are_logged: bool
    read_by: Readers


@dataclass(frozen=True, slots=True)
class DataTable:
    """A table: what a row is, where it lies, how long it is kept, and its columns.

    permission: what seeing a row takes in its scope. is_about_a_person: whether each row is about one person, who may
    do with it what everyone may with their own. deleted_by: who has one of these can delete a row; empty: nobody can.
    """

    name: str
    row: str
    noun: str
    place: Place
    is_about_a_person: bool
    permission: Permission
    seen_by: Readers
    changes_are_recorded: bool
    kept: str
    deleted_by: tuple[Permission, ...]
    columns: tuple[DataColumn, ...]


@cache
def data_inventory() -> tuple[DataTable, ...]:
    """Return all tables, in the order of their names.

    Raises:
        InventoryError: a declaration is missing, or has no words here.
    """
    return tuple(table_of(entity) for entity in sorted(entities(), key=lambda one: one.name))


def table_of(entity: Entity) -> DataTable:
    """Return what is said of one table. Raises `InventoryError` as `data_inventory` does."""
    held, placement = held_by(entity), entity.placement
    place = Place.ORGANIZATION
    if placement is not None and placement.project_column is not None:
        place = Place.PROJECT
    elif placement is not None and placement.tenant_column is None:
        place = Place.INSTALLATION
    return DataTable(
        name=entity.name,
        row=_first_sentence(entity),
        noun=entity.noun,
        place=place,
        is_about_a_person=placement is not None and placement.own_column is not None,
        permission=entity.read,
        seen_by=_readers(held, {entity.read}),
        changes_are_recorded=entity.model.is_audited,
        kept=_kept(entity.kept),
        deleted_by=entity.kept.deleted_by,
        columns=tuple(_column(entity, column, held) for column in entity.columns.values()),
    )


def _kept(kept: Kept) -> str:
    period = kept.period
    if period is None:
        return kept.says
    return (
        f"{kept.says} An organization may set a period ({period.kind}), of {period.least_days} days at the least, that"
        f" counts from {period.counts_from}."
    )


def held_by(entity: Entity) -> dict[str, Permissions]:
    """Return what each of `ROLES` may do with a row of the table where the role counts for it."""
    placement = entity.placement
    base = ORGANIZATION_ROLES[OrganizationRole.MEMBER]
    held: dict[str, Permissions] = {str(role): granted | base for role, granted in ORGANIZATION_ROLES.items()}
    lies_in_project = placement is not None and placement.project_column is not None
    for role, granted in PROJECT_ROLES.items():
        held[role] = granted | base if lies_in_project else base
    is_somebodys = placement is not None and placement.own_column is not None
    held[OWN] = SELF | base if is_somebodys else frozenset()
    return held


def _column(entity: Entity, column: Column, held: Mapping[str, Permissions]) -> DataColumn:
    takes = {entity.read} | ({column.guard} if column.guard else set())
    otherwise = Instead.NULL_AND_ERROR
    if not column.is_in_api:
        otherwise = Instead.NOT_IN_API
    elif column.guard is None:
        otherwise = Instead.NOTHING
    elif column.masked_by is not None:
        otherwise = Instead.PSEUDONYM
    return DataColumn(
        name=column.name,
        type=_type_of(column),
        is_nullable=column.is_nullable,
        classification=column.classification,
        storage=column.storage,
        key=_key_of(entity, column),
        is_padded=isinstance(column.field, EncryptedField) and column.field.pad,
        index_column=column.search.index_column if column.search else None,
        permission=column.guard,
        otherwise=otherwise,
        reads_are_logged=column.is_logged,
        read_by=_readers(held, takes) if column.is_in_api else Readers((), (), own=False),
    )


def _readers(held: Mapping[str, Permissions], takes: Set[Permission]) -> Readers:
    return Readers(
        organization_roles=tuple(role for role in ORGANIZATION_ROLES if takes <= held[role]),
        project_roles=tuple(role for role in PROJECT_ROLES if takes <= held[role]),
        own=takes <= held[OWN],
    )


def _key_of(entity: Entity, column: Column) -> KeyFact | None:
    # Whose it is where the column names nobody. A table of a tenant has no row without an organization, if it does not
    # say so; of others with that column, a row of no organization is the installation's.
    of_rows: tuple[OwnerKind, ...] = (OwnerKind.SYSTEM,)
    if TENANT in entity.columns:
        in_tenant = issubclass(entity.model, TenantModel) and not (entity.placement and entity.placement.of_nobody)
        of_rows = (OwnerKind.ORGANIZATION,) if in_tenant else (OwnerKind.ORGANIZATION, OwnerKind.SYSTEM)
    field = column.field
    if column.storage in _OF_INDEX_KEY:
        return KeyFact(of_rows, KeyPurpose.INDEX)
    if column.storage is Storage.PSEUDONYM:
        masked = next((one for one in entity.columns.values() if one.masked_by == column.name), None)
        if masked is None or masked.owner_column is None:
            raise InventoryError(f"The column {entity.name}.{column.name} is the pseudonym of nothing.")
        return KeyFact((OwnerKind.SUBJECT,), KeyPurpose.INDEX, masked.owner_column)
    if column.storage is Storage.SEALED_FILE:
        return KeyFact((OwnerKind.EXPORT,), KeyPurpose.CONTENT)
    if not isinstance(field, EncryptedField):
        return None
    if field.owner_column is None:
        return KeyFact(of_rows, field.purpose)
    if field.owner_kind is not OwnerKind.PERSON:
        return KeyFact((field.owner_kind,), field.purpose, field.owner_column)
    # A person has one key, whatever the column's purpose.
    of_others = of_rows if entity.columns[field.owner_column].is_nullable else ()
    return KeyFact((OwnerKind.PERSON, *of_others), KeyPurpose.VALUES, field.owner_column)


def _type_of(column: Column) -> str:
    field = column.field
    if isinstance(field, EncryptedField):
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", field.codec.__name__).lower()
        return _bounded(words, column.max_length)
    if isinstance(field, CharEnumFieldInstance):
        return f"one of {', '.join(str(one.value) for one in field.enum_type)}"
    if isinstance(field, ArrayField):
        return f"list of {'UUID' if field.element_type == 'UUID' else field.element_type.lower()}"
    for kind, words in _TYPES:
        if isinstance(field, kind):
            return _bounded(words, column.max_length)
    raise InventoryError(f"The column {column.entity}.{column.name} has a type that the data inventory can't name.")


def _bounded(words: str, most: int | None) -> str:
    return words if most is None else f"{words} of at most {most} characters"


def _first_sentence(entity: Entity) -> str:
    first, *_ = _paragraphs(entity.model.__doc__ or "")
    sentence, end, _ = f"{first} ".partition(". ")
    if not end:
        raise InventoryError(f"The table {entity.name} does not begin with a sentence that says what a row is.")
    return f"{sentence}."


def _paragraphs(text: str) -> Iterable[str]:
    return (" ".join(one.split()) for one in cleandoc(text).split("\n\n"))
