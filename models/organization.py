"""Organizations: the tenants."""

from enum import StrEnum

from tortoise import fields

from auth.classification import Classification as C
from models.base import Kept, Placement, WardModel, new_id, ward


class OrganizationStatus(StrEnum):
    """ACTIVE: at work. SUSPENDED: nobody gets in. ERASING: on its way out, nobody gets in."""

    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"
    ERASING = "ERASING"


class DocumentPolicy(StrEnum):
    """ANY: every operation is run. TRUSTED_ONLY: only those that a client's build registered, and our own pages'."""

    ANY = "ANY"
    TRUSTED_ONLY = "TRUSTED_ONLY"


class Organization(WardModel):
    """A consultancy, laboratory or agency with its own people, projects and data.

    `demands_second_factor`: who signs in without one may do nothing here but add one.
    `people_documents`, `program_documents`: what is run for who signed in, and for service accounts; null is ANY.
    `documents_version`: counts the changes of the trusted documents, so that servers know when what they keep of them
    is old; null where there was none.
    """

    noun = "organization"
    kept = Kept("For good: an organization is erased by destroying its keys, and its row stays.")
    placement = Placement(tenant_column="id")

    id = ward(C.PUBLIC, fields.UUIDField(primary_key=True, default=new_id))
    slug = ward(C.PUBLIC, fields.CharField(max_length=40, unique=True))
    name = ward(C.PUBLIC, fields.CharField(max_length=200))
    status = ward(C.INTERNAL, fields.CharEnumField(OrganizationStatus, max_length=16))
    demands_second_factor = ward(C.INTERNAL, fields.BooleanField(default=False))
    people_documents = ward(C.INTERNAL, fields.CharEnumField(DocumentPolicy, max_length=16, null=True))
    program_documents = ward(C.INTERNAL, fields.CharEnumField(DocumentPolicy, max_length=16, null=True))
    documents_version = ward(C.INTERNAL, fields.IntField(null=True))
    created_at = ward(C.INTERNAL, fields.DatetimeField(auto_now_add=True))

    class Meta:
        table = "organization"
