"""Measurements: the results of a record."""

from tortoise import fields

from auth.classification import Classification as C
from auth.permission import Permission
from models.base import Kept, Placement, TenantModel, ward
from models.encryption.column import EncryptedField
from models.record_field import RecordField


class Measurement(TenantModel):
    """One result of a record. `value_reported` is the value as it was reported, `value` its number where it is one.

    `source_row` is the row of the file that it was imported from, as a JSON object by column, without who collected:
    the record holds that name, under the name's own key.

    Names follow the Water Quality Exchange (WQX): characteristic, fraction, detection condition and limit.
    """

    noun = "record"
    kept = Kept(
        "As long as its record, or until a change of the record puts others in its place; the trail keeps what it was.",
        deleted_by=(
            Permission.RECORD_DELETE,
            Permission.RECORD_UPDATE,
            Permission.RECORD_UPDATE_OWN,
        ),
    )
    placement = Placement(project_column="project_id", whole_column="record_id")

    project_id = ward(C.INTERNAL, fields.UUIDField())
    record_id = ward(C.INTERNAL, fields.UUIDField())
    position = ward(C.INTERNAL, fields.IntField())
    characteristic = ward(C.INTERNAL, fields.CharField(max_length=120))
    fraction = ward(C.INTERNAL, fields.CharField(max_length=60, null=True))
    value = ward(C.INTERNAL, fields.FloatField(null=True))
    value_reported = ward(C.INTERNAL, fields.CharField(max_length=60, null=True))
    unit = ward(C.INTERNAL, fields.CharField(max_length=100, null=True))
    qualifier = ward(C.INTERNAL, fields.CharField(max_length=120, null=True))
    detection_condition = ward(C.INTERNAL, fields.CharField(max_length=120, null=True))
    detection_limit = ward(C.INTERNAL, fields.FloatField(null=True))
    detection_limit_unit = ward(C.INTERNAL, fields.CharField(max_length=40, null=True))
    detection_limit_type = ward(C.INTERNAL, fields.CharField(max_length=120, null=True))
    method = ward(C.INTERNAL, fields.CharField(max_length=300, null=True), switch=RecordField.MEASUREMENT_METHOD)
    result_status = ward(C.INTERNAL, fields.CharField(max_length=40, null=True))
    value_type = ward(C.INTERNAL, fields.CharField(max_length=40, null=True))
    comment = ward(C.CONFIDENTIAL, EncryptedField(max_length=10_000, null=True), switch=RecordField.MEASUREMENT_COMMENT)
    source_row = ward(C.CONFIDENTIAL, EncryptedField(max_length=2_000_000, null=True), switch=RecordField.SOURCE_ROW)

    class Meta:
        table = "measurement"
