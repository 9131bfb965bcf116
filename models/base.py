"""What every table has in common, and how a column is declared.

A column is declared once, with its classification: `site_code = ward(INTERNAL, fields.CharField(max_length=64))`.
Storage, guard, read log, masking and the data inventory follow from that; see `auth/classification.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, TypeVar

import uuid_utils.compat
from tortoise import fields
from tortoise.fields import Field
from tortoise.models import Model

from auth.classification import Classification
from auth.permission import Permission
from models.data_kind import Period
from models.encryption.column import WardModelMeta
from models.record_field import RecordField

new_id = uuid_utils.compat.uuid7
"""A new UUIDv7 (RFC 9562): ordered by time, made by the client or the server."""


@dataclass(frozen=True, slots=True)
class Search:
    """How an encrypted column is searched: for equality alone, by its blind index.

    index_column: the column that holds the index. normalize: brings values that count as equal to the same text.
    """

    index_column: str
    normalize: Callable[[str], str]


class Storage(StrEnum):
    """How the database holds a column's values.

    PLAIN: as they are. ENCRYPTED: as ciphertext. Others can't be turned back: BLIND_INDEX is a keyed fingerprint by
    which equal values are found; PSEUDONYM one from which a name's pseudonym is made; CONTENT_DIGEST a keyed digest of
    what the row was created from; TOKEN_DIGEST the SHA-256 of a random token; PASSWORD_HASH an Argon2id hash.
    SEALED_FILE is a piece of a file, sealed under the file's own key.
    """

    PLAIN = "PLAIN"
    ENCRYPTED = "ENCRYPTED"
    BLIND_INDEX = "BLIND_INDEX"
    PSEUDONYM = "PSEUDONYM"
    CONTENT_DIGEST = "CONTENT_DIGEST"
    TOKEN_DIGEST = "TOKEN_DIGEST"  # noqa: S105  (a word, not one)
    PASSWORD_HASH = "PASSWORD_HASH"  # noqa: S105
    SEALED_FILE = "SEALED_FILE"


@dataclass(frozen=True, slots=True)
class Ward:
    """What is declared of a column besides its type.

    masked_by: the column whose value stands for this one towards those who may not read it (a pseudonym's source).
    search: how it is searched; None where it is not.
    holds: of a SECRET column that is not encrypted, what it holds in the secret's place.
    withheld: the rows of which nobody is shown the value, as an SQL condition in which `{row}` stands for the table's
        alias: it is null to whoever reads, filters or computes by it.
    names: the noun of the people or devices whose ids it holds. The API shows who they are by links alone, to those who
        see them; so whoever shows the id itself asks for that noun's reading.
    words: whether rows are found by the words in it, where a list of them is searched.
    switch: the field that projects may do without, of which it is a column: then it is neither written nor kept.
    """

    classification: Classification
    masked_by: str | None = None
    search: Search | None = None
    holds: Storage | None = None
    withheld: str | None = None
    names: str | None = None
    words: bool = False
    switch: RecordField | None = None


F = TypeVar("F")


def ward(
    classification: Classification,
    field: F,
    *,
    masked_by: str | None = None,
    search: Search | None = None,
    holds: Storage | None = None,
    withheld: str | None = None,
    names: str | None = None,
    words: bool = False,
    switch: RecordField | None = None,
) -> F:
    """Declare the column's classification and return the column."""
    # Tortoise copies fields with their __dict__, so the declaration travels with every copy.
    vars(field)["ward"] = Ward(classification, masked_by, search, holds, withheld, names, words, switch)
    return field


def ward_of(field: Field[Any]) -> Ward | None:
    """Return what was declared of the column; None where nobody did, which the start-up sweep refuses."""
    declared = vars(field).get("ward")
    return declared if isinstance(declared, Ward) else None


@dataclass(frozen=True, slots=True)
class Placement:
    """Which scope a row of a table lies in, and so who sees it.

    project_column: the column that names the row's project; None where rows belong to the organization as a whole.
    own_column: the column that names the membership which the row is about, if it is about one: its own person may
        do with it what `auth.role.SELF` says.
    own_is_user: the own column names the user and not the membership.
    whole_column: the column that names the row that this one is part of, in whose history its changes are told.
    tenant_column: the column that names the organization; None for people's accounts, of which row-level security
        shows a tenant its own members alone.
    of_nobody: whether some rows belong to no organization, and lie under the nil UUID.
    """

    project_column: str | None = None
    own_column: str | None = None
    own_is_user: bool = False
    whole_column: str | None = None
    tenant_column: str | None = "organization_id"
    of_nobody: bool = False


@dataclass(frozen=True, slots=True)
class Kept:
    """How long the rows of a table are kept, as the code keeps them today.

    says: that, in a sentence. deleted_by: who has one of these permissions can delete a row; empty: nobody can.
    period: the one after which they are deleted, where an organization may set one.
    """

    says: str
    deleted_by: tuple[Permission, ...] = ()
    period: Period | None = None


class WardModel(Model, metaclass=WardModelMeta):
    """A table whose every column is classified.

    noun: the permissions' noun that guards its columns.
    kept: how long its rows are kept.
    placement: where its rows lie; None for tables that the API never lists.
    is_audited: whether triggers write its changes (all but the audit's own tables).
    drawn_from: what its rows are worked out from, as an SQL subquery; None for what is stored as a table.
    """

    noun: ClassVar[str]
    kept: ClassVar[Kept]
    placement: ClassVar[Placement | None] = None
    is_audited: ClassVar[bool] = True
    drawn_from: ClassVar[str | None] = None

    class Meta:
        abstract = True


class TenantModel(WardModel):
    """A table of a tenant. In the database its primary key is `(organization_id, id)`.

    Tortoise knows single-column keys only, so it is told of `id`; the migrations make the composite keys, and a test
    holds them to it.
    """

    id = ward(Classification.PUBLIC, fields.UUIDField(primary_key=True, default=new_id))
    organization_id = ward(Classification.PUBLIC, fields.UUIDField())
    created_at = ward(Classification.INTERNAL, fields.DatetimeField(auto_now_add=True))

    class Meta:
        abstract = True
