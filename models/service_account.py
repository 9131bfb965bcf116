"""Service accounts: the identities of programs that pull data, or bring it."""

from uuid import UUID

from tortoise import fields
from tortoise.contrib.postgres.fields import ArrayField

from auth.classification import Classification as C
from models.base import Kept, Placement, TenantModel, ward


class ServiceAccount(TenantModel):
    """A program's identity in one organization.

    It may do what its creator may do at that moment, cut down to `permissions` and, where they are named, to
    `project_ids`; from `networks` alone, where some are named (CIDR). Its tokens are `ServiceAccountToken`.
    """

    noun = "service_account"
    kept = Kept("For good: a service account expires within 366 days or is revoked, and its row stays.")
    placement = Placement()

    name = ward(C.INTERNAL, fields.CharField(max_length=100))
    permissions: fields.Field[list[str]] = ward(C.INTERNAL, ArrayField("text"))
    project_ids: fields.Field[list[UUID]] = ward(C.INTERNAL, ArrayField("uuid", null=True))
    created_by_id = ward(C.INTERNAL, fields.UUIDField())
    expires_at = ward(C.INTERNAL, fields.DatetimeField())
    networks: fields.Field[list[str]] = ward(C.INTERNAL, ArrayField("text", null=True))
    revoked_by_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    revoked_at = ward(C.INTERNAL, fields.DatetimeField(null=True))
    version = ward(C.PUBLIC, fields.IntField(default=1))

    class Meta:
        table = "service_account"
