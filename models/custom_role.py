"""Roles of an organization's own, beside the built-in ones."""

from enum import StrEnum

from tortoise import fields
from tortoise.contrib.postgres.fields import ArrayField

from auth.classification import Classification as C
from auth.permission import Permission
from models.base import Kept, Placement, Storage, TenantModel, ward


class RoleLevel(StrEnum):
    """Where a role is given: in the whole organization, or in single projects."""

    ORGANIZATION = "ORGANIZATION"
    PROJECT = "PROJECT"


class CustomRole(TenantModel):
    """A named set of permissions. Whoever has it may do what its row says at that moment."""

    noun = "role"
    kept = Kept(
        "Until it is deleted, which is refused while somebody has the role; the trail keeps what it was.",
        deleted_by=(Permission.ROLE_DEFINE,),
    )
    placement = Placement()

    name = ward(C.INTERNAL, fields.CharField(max_length=64))
    level = ward(C.INTERNAL, fields.CharEnumField(RoleLevel, max_length=16))
    description = ward(C.INTERNAL, fields.CharField(max_length=500, null=True))
    permissions: fields.Field[list[str]] = ward(C.INTERNAL, ArrayField("text"))
    version = ward(C.PUBLIC, fields.IntField(default=1))
    creation_digest = ward(C.SECRET, fields.BinaryField(null=True), holds=Storage.CONTENT_DIGEST)

    class Meta:
        table = "custom_role"
