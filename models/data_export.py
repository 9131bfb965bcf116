"""Exports: files that were made of what somebody may read, how far their making is, and the sealed pieces of them.

Asked for by people and programs (`resolvers/export.py`), made in the background (`resolvers/export_job.py`), and gone
after a while: the file is sealed under a key of its own, which is destroyed with it, in every copy.
"""

from enum import StrEnum

from tortoise import fields
from tortoise.contrib.postgres.fields import ArrayField

from auth.classification import Classification as C
from auth.permission import Permission
from models.base import Kept, Placement, Storage, TenantModel, ward
from models.data_kind import DataKind, Period
from models.encryption.column import EncryptedField
from models.encryption.envelope import OwnerKind


class ExportFormat(StrEnum):
    """CSV, GEOJSON, PARQUET and WQX_XML hold records with their measurements; ARCHIVE is a zip of everything that there
    is, PERSON one of what there is about whoever asked for it.
    """

    CSV = "CSV"
    GEOJSON = "GEOJSON"
    PARQUET = "PARQUET"
    WQX_XML = "WQX_XML"
    ARCHIVE = "ARCHIVE"
    PERSON = "PERSON"


class ExportStatus(StrEnum):
    """PENDING → READY, FAILED, REVOKED or CANCELLED; a READY one becomes EXPIRED or DELETED.

    REVOKED: whoever asked for it may read less than when it began. Only of a READY one there is a file.
    """

    PENDING = "PENDING"
    READY = "READY"
    FAILED = "FAILED"
    REVOKED = "REVOKED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    DELETED = "DELETED"


class DataExport(TenantModel):
    """A file that somebody asked for, with what they may read of the records that a filter finds.

    `filter_given` is the filter as it was given, as JSON, but for the values that are found by a blind index: who reads
    it may not be one who may read those. `request` are the conditions that it means, blind indexes among them.
    `token_id` and `token_scope` are the token of the program that asked, `device_id` the device that the person was on:
    both are asked for again while it is made. `used_rights` are the permissions by which values got into it, each after
    the project that it was used in: who takes the file has them still. Those that end in "once sensitive" count once
    that project's places are. `manifest` says what is in it, as JSON. These, and the filter, lie under a key of the
    export's own, since they may name people: `searched_for` holds the blind indexes that the filter compares with, one
    behind the other, by which an erasure finds it. `link_digest` is that of the one link that is good until
    `link_expires_at`, as long as what made it stands: the session or token `link_holder`.
    """

    noun = "export"
    kept = Kept(
        "For good: it says what left. Its file is destroyed when it expires, a day after unless set otherwise.",
        period=Period(DataKind.EXPORT, 90, "its end, once nothing is left of its file"),
    )
    placement = Placement(own_column="created_by_id")

    created_by_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    service_account_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    device_id = ward(C.INTERNAL, fields.UUIDField(null=True), names="device")
    token_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    token_scope = ward(C.INTERNAL, ArrayField("TEXT", null=True))
    format = ward(C.INTERNAL, fields.CharEnumField(ExportFormat, max_length=16))
    status = ward(C.INTERNAL, fields.CharEnumField(ExportStatus, max_length=16, default=ExportStatus.PENDING))
    filter_given = ward(
        C.CONFIDENTIAL, EncryptedField(max_length=100_000, null=True, owner_column="id", owner_kind=OwnerKind.EXPORT)
    )
    request = ward(
        C.SECRET, EncryptedField(max_length=200_000, null=True, owner_column="id", owner_kind=OwnerKind.EXPORT)
    )
    searched_for = ward(C.SECRET, fields.BinaryField(null=True), holds=Storage.BLIND_INDEX)
    used_rights = ward(C.INTERNAL, ArrayField("TEXT", null=True))
    file_name = ward(C.INTERNAL, fields.CharField(max_length=100, null=True))
    media_type = ward(C.INTERNAL, fields.CharField(max_length=100, null=True))
    size = ward(C.INTERNAL, fields.BigIntField(null=True))
    sha256 = ward(C.INTERNAL, fields.CharField(max_length=64, null=True))
    records = ward(C.INTERNAL, fields.BigIntField(null=True))
    measurements = ward(C.INTERNAL, fields.BigIntField(null=True))
    manifest = ward(
        C.CONFIDENTIAL, EncryptedField(max_length=2_000_000, null=True, owner_column="id", owner_kind=OwnerKind.EXPORT)
    )
    error_code = ward(C.INTERNAL, fields.CharField(max_length=40, null=True))
    finished_at = ward(C.INTERNAL, fields.DatetimeField(null=True))
    expires_at = ward(C.INTERNAL, fields.DatetimeField(null=True))
    link_digest = ward(C.SECRET, fields.BinaryField(null=True), holds=Storage.TOKEN_DIGEST)
    link_expires_at = ward(C.INTERNAL, fields.DatetimeField(null=True))
    link_holder = ward(C.INTERNAL, fields.UUIDField(null=True))
    creation_digest = ward(C.SECRET, fields.BinaryField(null=True), holds=Storage.CONTENT_DIGEST)

    class Meta:
        table = "data_export"


class DataExportProgress(TenantModel):
    """How far an export is, under its id. It moves with every batch, and is not in the trail.

    `claimed_by` is the claim of who makes it, another each time, until `claimed_until` unless it goes on; after that
    another begins anew.
    `swept_at`: since when nothing of its file is left, of one that is not PENDING or READY.
    """

    noun = "export"
    kept = Kept("For good: with the export that it is of.")
    placement = Placement(own_column="created_by_id")
    is_audited = False

    created_by_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    attempts = ward(C.INTERNAL, fields.IntField(default=0))
    claimed_by = ward(C.INTERNAL, fields.UUIDField(null=True))
    claimed_until = ward(C.INTERNAL, fields.DatetimeField(null=True))
    started_at = ward(C.INTERNAL, fields.DatetimeField(null=True))
    moved_at = ward(C.INTERNAL, fields.DatetimeField(null=True))
    rows_total = ward(C.INTERNAL, fields.BigIntField(null=True))
    rows_done = ward(C.INTERNAL, fields.BigIntField(default=0))
    bytes_done = ward(C.INTERNAL, fields.BigIntField(default=0))
    swept_at = ward(C.INTERNAL, fields.DatetimeField(null=True))

    class Meta:
        table = "data_export_progress"


class DataExportPiece(TenantModel):
    """A piece of an export's file, sealed under the export's own key. `start` is where in the file it begins."""

    noun = "export"
    kept = Kept("Until the export expires, is deleted, or comes to nothing.", deleted_by=(Permission.EXPORT_DELETE,))
    is_audited = False

    export_id = ward(C.INTERNAL, fields.UUIDField())
    position = ward(C.INTERNAL, fields.IntField())
    start = ward(C.INTERNAL, fields.BigIntField())
    size = ward(C.INTERNAL, fields.IntField())
    content = ward(C.SECRET, fields.BinaryField(), holds=Storage.SEALED_FILE)

    class Meta:
        table = "data_export_piece"
