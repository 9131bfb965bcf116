"""Sites: the places of a project that are visited again and again."""

from tortoise import fields

from auth.classification import Classification as C
from auth.permission import Permission
from models.base import Kept, Placement, Storage, TenantModel, ward
from models.data_kind import DataKind, Period
from models.encryption.codec import Place
from models.encryption.column import EncryptedField
from models.place import AWAITING_ITS_CELL


class Site(TenantModel):
    """A monitoring location of a project, known by its code; records name it by that code.

    `kind` is what it is, in WQX's words for the types of monitoring locations: River/Stream, Lake, Well. Its place is
    kept as a record's is (`models/record.py: Record`): exact, or as its cell with the place in `exact_location` alone,
    as the project's `locations_are_sensitive` says.
    """

    noun = "site"
    kept = Kept(
        "Until it is deleted; the trail keeps what it was.",
        deleted_by=(Permission.SITE_DELETE,),
        period=Period(DataKind.SITE, 30, "its making, once no record names it"),
    )
    placement = Placement(project_column="project_id")

    project_id = ward(C.INTERNAL, fields.UUIDField())
    code = ward(C.INTERNAL, fields.CharField(max_length=64), words=True)
    name = ward(C.INTERNAL, fields.CharField(max_length=200), words=True)
    kind = ward(C.INTERNAL, fields.CharField(max_length=45, null=True), words=True)
    latitude = ward(C.INTERNAL, fields.FloatField(null=True), withheld=AWAITING_ITS_CELL)
    longitude = ward(C.INTERNAL, fields.FloatField(null=True), withheld=AWAITING_ITS_CELL)
    location_is_coarse = ward(C.INTERNAL, fields.BooleanField(default=False))
    exact_location = ward(C.CONFIDENTIAL, EncryptedField(max_length=64, codec=Place, null=True, pad=True))
    description = ward(C.INTERNAL, fields.CharField(max_length=4000, null=True), words=True)
    version = ward(C.PUBLIC, fields.IntField(default=1))
    creation_digest = ward(C.SECRET, fields.BinaryField(null=True), holds=Storage.CONTENT_DIGEST)

    class Meta:
        table = "site"
