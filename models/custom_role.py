"""Roles of an organization's own, beside the built-in ones."""

from enum import StrEnum

from tortoise import fields
from tortoise.contrib.postgres.fields import ArrayField

from auth.classification import Classification as C
from models.base import Placement, TenantModel, ward


class RoleLevel(StrEnum):
    """Where a role is given: in the whole organization, or in single projects."""

    ORGANIZATION = "ORGANIZATION"
    PROJECT = "PROJECT"


class CustomRole(TenantModel):
    """A named set of permissions. Whoever has it may do what its row says at that moment."""

    noun = "role"
    placement = Placement()

    name = ward(C.INTERNAL, fields.CharField(max_length=64))
    level = ward(C.INTERNAL, fields.CharEnumField(RoleLevel, max_length=16))
    description = ward(C.INTERNAL, fields.CharField(max_length=500, null=True))
    permissions: fields.Field[list[str]] = ward(C.INTERNAL, ArrayField("text"))
    version = ward(C.PUBLIC, fields.IntField(default=1))
    creation_digest = ward(C.SECRET, fields.BinaryField(null=True))

    class Meta:
        table = "custom_role"
