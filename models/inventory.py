"""The data inventory: every table and column, with what its declaration asks of it.

Read from the models, never written by hand. The guard of a column is its table's noun and the verb of its
classification: a CONFIDENTIAL column of `record` is guarded by `record:read_confidential`.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from types import MappingProxyType
from typing import Any

from tortoise import fields as tortoise_fields
from tortoise.fields import Field

from auth.classification import DEMANDS, Classification
from auth.permission import Permission
from models.access_review import AccessReview, AccessReviewItem
from models.audit_entry import AuditEntry
from models.authenticator import Authenticator, AuthenticatorUse
from models.base import Kept, Placement, Search, Storage, Ward, WardModel, ward_of
from models.challenge import Challenge
from models.change import Change
from models.custom_role import CustomRole
from models.data_export import DataExport, DataExportPiece, DataExportProgress
from models.data_import import DataImport, ImportBlock, ImportChunk, ImportMapping
from models.device import Device
from models.encryption.codec import Text
from models.encryption.column import EncryptedField
from models.erasure_request import ErasureRequest
from models.idempotency_key import IdempotencyKey
from models.incident import AlarmDelivery, Incident, IncidentCursor, IncidentEvidence
from models.invitation import Invitation
from models.legal_hold import LegalHold
from models.measurement import Measurement
from models.membership import Membership, ProjectMembership
from models.organization import Organization
from models.outgoing_mail import OutgoingMail
from models.project import Project
from models.record import Record
from models.record_field import RecordField
from models.retention import DataRetention, RetentionRun
from models.sealed_batch import Cosignature, Publication, SealedBatch, SealedLeaf, SealedNode
from models.service_account import ServiceAccount
from models.service_account_token import ServiceAccountToken, ServiceAccountUse
from models.session import Session
from models.site import Site
from models.throttle import Throttle
from models.trail_retention import TrailRetention
from models.trusted_document import TrustedDocument
from models.user import User

MODELS: tuple[type[WardModel], ...] = (
    Organization,
    User,
    CustomRole,
    Membership,
    ProjectMembership,
    Project,
    Device,
    Record,
    Measurement,
    Site,
    ServiceAccount,
    Session,
    AuditEntry,
    Change,
    SealedLeaf,
    SealedNode,
    SealedBatch,
    Cosignature,
    Publication,
    TrailRetention,
    Incident,
    IncidentEvidence,
    IncidentCursor,
    AlarmDelivery,
    Authenticator,
    AuthenticatorUse,
    Challenge,
    Throttle,
    IdempotencyKey,
    OutgoingMail,
    Invitation,
    ServiceAccountToken,
    ServiceAccountUse,
    AccessReview,
    AccessReviewItem,
    TrustedDocument,
    DataImport,
    ImportMapping,
    ImportChunk,
    ImportBlock,
    DataExport,
    DataExportProgress,
    DataExportPiece,
    DataRetention,
    RetentionRun,
    LegalHold,
    ErasureRequest,
)


_TEXTS = (tortoise_fields.CharField, tortoise_fields.TextField)


class InventoryError(Exception):
    """A declaration is missing or contradicts itself. The service does not start."""


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """A column, as declared. `guard` is None where seeing the row is enough.

    names: the permission without which who is named by it is not told, where it names people or their devices.
    """

    entity: str
    name: str
    classification: Classification
    guard: Permission | None
    storage: Storage
    is_sealed: bool
    is_logged: bool
    is_in_api: bool
    masked_by: str | None
    search: Search | None
    owner_column: str | None
    max_length: int | None
    is_nullable: bool
    withheld: str | None
    names: Permission | None
    words: bool
    switch: RecordField | None
    field: Field[Any]


@dataclass(frozen=True, eq=False)
class Entity:
    """A table: its noun, how long its rows are kept and where they lie, and its columns by name."""

    name: str
    model: type[WardModel]
    noun: str
    kept: Kept
    placement: Placement | None
    read: Permission
    columns: Mapping[str, Column]

    @property
    def relation(self) -> str:
        """What its rows are selected from, in SQL."""
        drawn_from = self.model.drawn_from
        return f'"{self.name}"' if drawn_from is None else f"({drawn_from})"

    @cached_property
    def word_columns(self) -> tuple[Column, ...]:
        """The columns whose words are found where a list of its rows is searched."""
        return tuple(column for column in self.columns.values() if column.words)

    @property
    def scope_columns(self) -> tuple[str, ...]:
        """The columns that every row travels with: its identity, and what its scope is read from."""
        names = ["id"]
        if self.placement is not None:
            wanted = (
                self.placement.tenant_column,
                self.placement.project_column,
                self.placement.own_column,
            )
            names += [name for name in wanted if name and name in self.columns and name not in names]
        return tuple(names)


def switched_columns(entity: Entity, off: Collection[str]) -> tuple[Column, ...]:
    """Return the columns of the table that a project does without.

    off: what it switched off. What repeats a whole row of a file goes with anything.
    """
    gone = {*off, RecordField.SOURCE_ROW} if off else frozenset[str]()
    return tuple(column for column in entity.columns.values() if column.switch is not None and column.switch in gone)


@cache
def entity_of(model: type[WardModel]) -> Entity:
    """Return the inventory of one table.

    Raises:
        InventoryError: a column has no classification, is stored otherwise than its classification asks, or is declared
            to be searchable and can't be; nobody said how long the rows are kept.
    """
    name = str(model._meta.db_table)
    kept: Kept | None = getattr(model, "kept", None)
    if kept is None:
        raise InventoryError(f"The table {name} does not say how long its rows are kept.")
    columns = {
        column_name: _column(name, model.noun, column_name, field)
        for column_name, field in model._meta.fields_map.items()
        if field.has_db_field
    }
    _require_searchable(columns)
    return Entity(
        name=name,
        model=model,
        noun=model.noun,
        kept=kept,
        placement=model.placement,
        read=Permission(f"{model.noun}:read"),
        columns=MappingProxyType(columns),
    )


def entities() -> tuple[Entity, ...]:
    """Return the inventory of all tables."""
    return tuple(entity_of(model) for model in MODELS)


def entity_named(name: str) -> Entity:
    """Return the table of that name. Raises `InventoryError` if there is none."""
    for entity in entities():
        if entity.name == name:
            return entity
    raise InventoryError(f"There is no table {name!r}.")


def _column(entity: str, noun: str, name: str, field: Field[Any]) -> Column:
    declared = ward_of(field)
    if declared is None:
        raise InventoryError(f"The column {entity}.{name} has no classification.")
    demand = DEMANDS[declared.classification]
    is_sealed = isinstance(field, EncryptedField)
    if demand.sealed and not is_sealed:
        raise InventoryError(f"The column {entity}.{name} is {declared.classification} and not encrypted.")
    if declared.words and (is_sealed or declared.withheld or not isinstance(field, _TEXTS) or not demand.in_api):
        raise InventoryError(f"The words of the column {entity}.{name} are searched, and it is no plain text.")
    if declared.withheld is not None and not field.null:
        raise InventoryError(f"The column {entity}.{name} is withheld from some rows and can't be null.")
    if declared.switch is not None and not field.null:
        raise InventoryError(f"The column {entity}.{name} can be switched off and can't be null.")
    max_length = getattr(field, "max_length", None)
    if isinstance(field, tortoise_fields.CharField | EncryptedField) and max_length is None:
        raise InventoryError(f"The column {entity}.{name} has no greatest length.")
    return Column(
        entity=entity,
        name=name,
        classification=declared.classification,
        guard=Permission(f"{noun}:{demand.guard_verb}") if demand.guard_verb else None,
        storage=_storage(f"{entity}.{name}", declared, is_sealed=is_sealed),
        is_sealed=is_sealed,
        is_logged=demand.read_is_logged,
        is_in_api=demand.in_api,
        masked_by=declared.masked_by,
        search=declared.search,
        owner_column=field.owner_column if isinstance(field, EncryptedField) else None,
        max_length=max_length if isinstance(max_length, int) else None,
        is_nullable=bool(field.null),
        withheld=declared.withheld,
        names=Permission(f"{declared.names}:read") if declared.names else None,
        words=declared.words,
        switch=declared.switch,
        field=field,
    )


def _require_searchable(columns: Mapping[str, Column]) -> None:
    """Raise `InventoryError` unless each column that is declared to be searchable has an index of its own."""
    taken: dict[str, str] = {}
    for column in columns.values():
        if column.search is None:
            continue
        place, index = f"The column {column.entity}.{column.name}", columns.get(column.search.index_column)
        if not isinstance(column.field, EncryptedField) or column.field.codec is not Text:
            raise InventoryError(f"{place} is searchable and no encrypted text.")
        if index is None:
            raise InventoryError(f"{place} is searched by {column.search.index_column}, which there is not.")
        if index.classification is not Classification.SECRET:
            raise InventoryError(f"{place} is searched by {index.name}, which is not SECRET.")
        if not isinstance(index.field, tortoise_fields.BinaryField):
            raise InventoryError(f"{place} is searched by {index.name}, which is not BYTEA.")
        if index.is_nullable is not column.is_nullable:
            raise InventoryError(f"{place} is searched by {index.name}, and only one of them can be null.")
        if index.name in taken:
            raise InventoryError(f"{place} is searched by {index.name}, which is the index of {taken[index.name]}.")
        taken[index.name] = column.name


def _storage(place: str, declared: Ward, *, is_sealed: bool) -> Storage:
    is_imprint = declared.classification is Classification.SECRET and not is_sealed
    if is_imprint and declared.holds in {None, Storage.PLAIN, Storage.ENCRYPTED}:
        raise InventoryError(f"The column {place} is SECRET and does not say what it holds in the secret's place.")
    if not is_imprint and declared.holds is not None:
        raise InventoryError(f"The column {place} is not SECRET, or is encrypted, and holds its very values.")
    return declared.holds or (Storage.ENCRYPTED if is_sealed else Storage.PLAIN)
