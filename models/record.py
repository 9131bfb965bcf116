"""Records: one field event each, in one project."""

from enum import StrEnum
from typing import Any, cast
from uuid import UUID

from tortoise import fields
from tortoise.contrib.postgres.fields import ArrayField

from auth.classification import Classification as C
from auth.permission import Permission
from models.base import Kept, Placement, Search, Storage, TenantModel, ward
from models.data_kind import DataKind, Period
from models.encryption.blind_index import normalize_name
from models.encryption.codec import Place
from models.encryption.column import EncryptedField
from models.encryption.envelope import KeyPurpose, OwnerKind
from models.place import AWAITING_ITS_CELL
from models.record_field import RecordField


class RecordStatus(StrEnum):
    """DRAFT → SUBMITTED → APPROVED or REJECTED; a REJECTED record is mended and submitted again."""

    DRAFT = "DRAFT"
    SUBMITTED = "SUBMITTED"
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"


class Medium(StrEnum):
    """What was sampled: the activity media of the Water Quality Exchange that field crews meet."""

    WATER = "WATER"
    SEDIMENT = "SEDIMENT"
    SOIL = "SOIL"
    AIR = "AIR"
    BIOLOGICAL = "BIOLOGICAL"
    HABITAT = "HABITAT"
    TISSUE = "TISSUE"
    OTHER = "OTHER"


class SignatureMeaning(StrEnum):
    """What a signature says, as 21 CFR 11.50(a)(3) asks for it.

    REVIEW: the record was looked through. APPROVAL: it may be used. RESPONSIBILITY: the signer answers for it. Nobody
    signs as the author here: whoever had a hand in a record does not review it.
    """

    REVIEW = "REVIEW"
    APPROVAL = "APPROVAL"
    RESPONSIBILITY = "RESPONSIBILITY"


class Record(TenantModel):
    """A visit to a site: where, when, by whom, how, and what was noted.

    `collected_at_reported` keeps the time as it was reported beside its parsed form. `collector_index` is the blind
    index of the collector's name, by which the name has a key of its own; `collector_pseudonym` stands for the name and
    outlives it. `reviewer` is the name of who reviewed it, as it was then, and `review_meaning` what their signature
    says, where they signed. `activity_type` tells a sample from a blank
    or a replicate taken for quality control. `contributor_ids` are the members and programs who made, changed or
    submitted it: none of them, and nobody whose program it was, reviews it. `latitude` and `longitude` are WGS 84
    degrees: of the place itself, or, where `location_is_coarse`, of the centre of its cell (`models/place.py`), and the
    place is in `exact_location` alone. All records of a project follow its `locations_are_sensitive`; those that don't
    yet are rewritten (`resolvers/location_rewrite.py`), and until then show no coordinates where they would tell the
    place.
    """

    noun = "record"
    kept = Kept(
        "Until it is deleted, its measurements with it; the trail keeps what it was. A collector's name is readable"
        " until it is erased, the reviewer's as long as the record.",
        deleted_by=(Permission.RECORD_DELETE,),
        period=Period(
            DataKind.RECORD, 30, "its collection, and a week from its arrival at the least; its measurements go with it"
        ),
    )
    placement = Placement(project_column="project_id")

    project_id = ward(C.INTERNAL, fields.UUIDField())
    device_id = ward(C.INTERNAL, fields.UUIDField(null=True), names="device", switch=RecordField.DEVICE)
    created_by_id = ward(C.INTERNAL, fields.UUIDField(null=True), names="membership")
    site_code = ward(C.INTERNAL, fields.CharField(max_length=64), words=True)
    site_name = ward(C.INTERNAL, fields.CharField(max_length=200, null=True), words=True, switch=RecordField.SITE_NAME)
    latitude = ward(C.INTERNAL, fields.FloatField(null=True), withheld=AWAITING_ITS_CELL, switch=RecordField.LOCATION)
    longitude = ward(C.INTERNAL, fields.FloatField(null=True), withheld=AWAITING_ITS_CELL, switch=RecordField.LOCATION)
    location_is_coarse = ward(C.INTERNAL, fields.BooleanField(default=False))
    exact_location = ward(
        C.CONFIDENTIAL,
        EncryptedField(max_length=64, codec=Place, null=True, pad=True),
        switch=RecordField.LOCATION,
    )
    collected_at = ward(C.INTERNAL, fields.DatetimeField())
    collected_at_reported = ward(C.INTERNAL, fields.CharField(max_length=64, null=True))
    received_at = ward(C.INTERNAL, fields.DatetimeField(auto_now_add=True))
    medium = ward(C.INTERNAL, fields.CharEnumField(Medium, max_length=16))
    activity_type = ward(
        C.INTERNAL, fields.CharField(max_length=120, null=True), words=True, switch=RecordField.ACTIVITY_TYPE
    )
    method = ward(C.INTERNAL, fields.CharField(max_length=200, null=True), words=True, switch=RecordField.METHOD)
    collector = ward(
        C.PERSONAL,
        EncryptedField(
            max_length=200, null=True, owner_column="collector_index", owner_kind=OwnerKind.SUBJECT, pad=True
        ),
        masked_by="collector_pseudonym",
        search=Search("collector_index", normalize_name),
        switch=RecordField.COLLECTOR,
    )
    collector_index = ward(
        C.SECRET, fields.BinaryField(null=True), holds=Storage.BLIND_INDEX, switch=RecordField.COLLECTOR
    )
    collector_pseudonym = ward(
        C.SECRET, fields.BinaryField(null=True), holds=Storage.PSEUDONYM, switch=RecordField.COLLECTOR
    )
    comment = ward(C.CONFIDENTIAL, EncryptedField(max_length=10_000, null=True), switch=RecordField.COMMENT)
    status = ward(C.INTERNAL, fields.CharEnumField(RecordStatus, max_length=16, default=RecordStatus.DRAFT))
    contributor_ids: fields.Field[list[UUID]] = ward(C.INTERNAL, ArrayField("uuid", default=list), names="membership")
    reviewed_by_id = ward(C.INTERNAL, fields.UUIDField(null=True), names="membership")
    reviewer = ward(C.PERSONAL, EncryptedField(max_length=200, null=True, purpose=KeyPurpose.ATTRIBUTION, pad=True))
    reviewed_at = ward(C.INTERNAL, fields.DatetimeField(null=True))
    review_reason = ward(C.CONFIDENTIAL, EncryptedField(max_length=2000, null=True))
    review_meaning: SignatureMeaning | None = cast(
        Any, ward(C.INTERNAL, fields.CharEnumField(SignatureMeaning, max_length=16, null=True))
    )
    version = ward(C.PUBLIC, fields.IntField(default=1))
    creation_digest = ward(C.SECRET, fields.BinaryField(null=True), holds=Storage.CONTENT_DIGEST)

    class Meta:
        table = "record"
