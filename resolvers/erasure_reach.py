"""How far an erasure reaches, column by column: what goes with which key, and what stays, with the reason.

Said of the inventory, so that a column that is added tomorrow is told apart today: a test plants somebody into every
column that can hold words or bytes, erases them, and looks for them with every key that is left. A column of which
nothing is said here does not pass it. What stays is in every certificate.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tortoise import fields
from tortoise.contrib.postgres.fields import ArrayField
from tortoise.fields.data import CharEnumFieldInstance

from models.base import Storage
from models.encryption.column import EncryptedField
from models.encryption.envelope import OwnerKind
from models.erasure_request import ErasureKind
from models.inventory import Column, entities

ColumnName = tuple[str, str]
"""A table and a column of it."""


class Reach(StrEnum):
    """What becomes of a column's value when a person is erased.

    KEY: it lies under a key that is destroyed. FORGOTTEN: it is overwritten or deleted in the rows, and can't be read
    out of what older copies hold. STAYS: it is somebody else's, or not found; the reason is said. NOBODYS: it holds
    nothing that anybody typed: ids, numbers, moments, words of the service's own, fingerprints of random tokens.
    """

    KEY = "KEY"
    FORGOTTEN = "FORGOTTEN"
    STAYS = "STAYS"
    NOBODYS = "NOBODYS"


@dataclass(frozen=True, slots=True)
class Remainder:
    """Something that is left of an erasure, and why. columns: where it lies, as table.column."""

    what: str
    why: str
    columns: tuple[str, ...] = ()


def _places(names: str) -> frozenset[ColumnName]:
    """Return the columns that are written as table.column."""
    parted = (name.partition(".") for name in names.split())
    return frozenset((table, column) for table, _, column in parted)


_FREE_TEXT: Final = Remainder(
    "What people wrote in their own words about the organization's work, if it names the person.",
    "It is the organization's, and nobody finds a name inside a text under a key. Whoever confirms looks for it: in"
    " records by their collector, and where they know of it.",
)
_OWN_WORDS: Final = Remainder(
    "Names that the organization gave to its things: projects, sites, roles, programs, files, mappings.",
    "They are the organization's, and name things. Rename what names a person; the trail keeps the name of before.",
)
_CLIENT: Final = Remainder(
    "What clients said of themselves: name and version, and the names of their operations.",
    "They name programs. A client that puts a person's name there is mended by who builds it.",
)
_DEVICE: Final = Remainder(
    "Devices: model, serial number, public key, and why one was blocked.",
    "They are the organization's equipment, and stay mapped to a membership that has no name any more.",
)
_ATTRIBUTION: Final = Remainder(
    "Under which name a record was approved.",
    "It vouches for the record as long as there is one, and lies under a key of its own (decision 17).",
)
_VALUES: Final = Remainder(
    "Values of records and measurements, and where they were taken.",
    "They describe the environment; who collected them is a pseudonym from now on, which leads to no name.",
)
_PASSKEY: Final = Remainder(
    "In the trail: that a passkey was added, by its random id and its public key.",
    "The trail is never changed. The passkey itself is deleted; its id was made for this service alone.",
)
_PSEUDONYM: Final = Remainder(
    "The pseudonym of a collector.",
    "It keeps records of one person together. The key that leads from a name to it is destroyed.",
)
_IDS: Final = Remainder(
    "Ids of the person, their memberships and sign-ins, in rows and in the trail.",
    "They are random, keep the trail whole, and lead to no name any more.",
)
_ANONYMOUS: Final = Remainder(
    "Addresses from which somebody tried what they were not signed in for.",
    "Nobody knows whose they are. They go with the trail's retention.",
)
_SPELLINGS: Final = Remainder(
    "Other spellings of their name that they told, as a collector's.",
    "They may be somebody else's name. Each organization was asked for them apart, in a request that somebody there"
    " confirms, and that has a certificate of its own.",
)
_FINGERPRINTS: Final = Remainder(
    "In backups of the data from before: blind indexes, and a password's hash.",
    "Whoever has such a backup, and the index key besides, can try out whether a name or address that they know was"
    " there. They go with the backups.",
)
_KEY_BACKUPS: Final = Remainder(
    "In backups of the keystore from before: the keys, wrapped.",
    "Such backups are kept for 30 days at the most. What comes back from one is erased again before the first request.",
)

_COLUMNS: Final[Mapping[Remainder, str]] = {
    _FREE_TEXT: """
        custom_role.description data_import.error_message device.block_reason incident.note legal_hold.lift_reason
        legal_hold.reason measurement.comment measurement.source_row project.description record.comment
        record.review_reason site.description
    """,
    _OWN_WORDS: """
        access_review_item.role custom_role.name data_import.file_name data_import.mapping import_mapping.mapping
        import_mapping.name organization.name organization.slug project.code project.name service_account.name
        service_account.networks service_account_use.used_from site.code site.name trusted_document.text
    """,
    _CLIENT: """
        audit_entry.client_name audit_entry.client_version audit_entry.operation_name audit_entry.trace_id
        trusted_document.client_name trusted_document.client_version
    """,
    _DEVICE: "device.app_version device.model device.public_key device.serial_index device.serial_number",
    _ATTRIBUTION: "record.reviewer",
    _PSEUDONYM: "record.collector_pseudonym",
    _VALUES: """
        legal_hold.site_code record.activity_type record.collected_at_reported record.exact_location record.method
        record.site_code record.site_name measurement.characteristic measurement.detection_condition
        measurement.detection_limit_type measurement.detection_limit_unit measurement.fraction measurement.method
        measurement.qualifier measurement.result_status measurement.unit measurement.value_reported
        measurement.value_type site.exact_location site.kind
    """,
}
STAYS: Final[Mapping[ColumnName, Remainder]] = {
    place: one for one, names in _COLUMNS.items() for place in _places(names)
}
"""What of a person's may be left in which columns, and why."""

FORGOTTEN: Final = _places(
    """
        authenticator.credential authenticator.digest authenticator.public_key data_export.creation_digest
        data_export.searched_for erasure_request.name_indexes invitation.email_index outgoing_mail.email_index
        record.collector_index record.creation_digest user_account.email_index user_account.password_hash
    """
)
"""What is overwritten or deleted in the rows: by it a name, an address or a password could still be tried."""

NOBODYS: Final = _places(
    """
        alarm_delivery.destination alarm_delivery.last_error audit_entry.acting_as audit_entry.action
        audit_entry.channel audit_entry.entity audit_entry.error_code audit_entry.field audit_entry.operation_hash
        authenticator.transports challenge.device_key challenge.nonce change.entity cosignature.line cosignature.witness
        custom_role.permissions data_export.error_code data_export.file_name data_export.media_type data_export.sha256
        data_export.token_scope data_export.used_rights data_import.error_code data_import.scope
        erasure_request.certificate idempotency_key.answers import_block.fates incident.key incident.rule
        outgoing_mail.last_error project.fields_off retention_run.error_code sealed_batch.checkpoint
        sealed_batch.frontier sealed_batch.root_hash sealed_leaf.leaf_hash sealed_node.node_hash
        service_account.permissions service_account_token.hint session.factors trusted_document.sha256
    """
)
"""Columns of words or bytes that the service makes itself."""

TOLD: Final = frozenset({("change", "columns")})
"""What holds values of other columns as they are stored: it reaches as far as each of those."""

_DYING: Final = frozenset({OwnerKind.PERSON, OwnerKind.SUBJECT, OwnerKind.EXPORT, OwnerKind.IMPORT, OwnerKind.ERASURE})
_RANDOM: Final = frozenset({Storage.TOKEN_DIGEST, Storage.CONTENT_DIGEST})


def can_hold_words(column: Column) -> bool:
    """Return whether a value of the column may hold what somebody typed, or what was made from that."""
    field = column.field
    if isinstance(field, CharEnumFieldInstance):
        return False
    if isinstance(field, ArrayField):
        return str(field.element_type).lower() != "uuid"
    words = (fields.CharField, fields.TextField, fields.BinaryField, fields.JSONField, EncryptedField)
    return isinstance(field, words)


def reach_of(column: Column) -> Reach | None:
    """Return what becomes of the column when a person is erased; None where nobody said, which a test refuses."""
    place = (column.entity, column.name)
    if place in STAYS:
        return Reach.STAYS
    if place in FORGOTTEN:
        return Reach.FORGOTTEN
    if place in NOBODYS or place in TOLD or not can_hold_words(column):
        return Reach.NOBODYS
    if isinstance(column.field, EncryptedField):
        has_own = column.field.owner_column is not None and column.field.owner_kind in _DYING
        return Reach.KEY if has_own else None
    if column.storage is Storage.SEALED_FILE:
        return Reach.KEY
    return Reach.NOBODYS if column.storage in _RANDOM else None


def remainders(kind: ErasureKind) -> Iterator[Remainder]:
    """Yield what is left of an erasure, and why: for its certificate."""
    if kind is ErasureKind.ORGANIZATION:
        yield Remainder(
            "Accounts of the organization's people.",
            "They are the people's own, who may belong to other organizations.",
        )
        yield Remainder(
            "Rows without what was sealed of them, and the trail of who did what.",
            "The trail is never changed. What of it was sealed under the organization's keys is unreadable; what was"
            " sealed under people's own goes with them.",
        )
    else:
        by_reason: dict[str, tuple[Remainder, list[str]]] = {}
        for (table, name), one in STAYS.items():
            by_reason.setdefault(one.what, (one, []))[1].append(f"{table}.{name}")
        for one, places in by_reason.values():
            yield Remainder(one.what, one.why, tuple(sorted(places)))
        if kind is ErasureKind.PERSON:
            yield _PASSKEY
            yield _ANONYMOUS
            yield _SPELLINGS
        yield _IDS
    yield _FINGERPRINTS
    yield _KEY_BACKUPS


def columns_to_hold_words() -> Iterator[Column]:
    """Yield every column of the inventory that can hold what somebody typed."""
    for entity in entities():
        for column in entity.columns.values():
            if can_hold_words(column):
                yield column
