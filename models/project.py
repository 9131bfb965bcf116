"""Projects: what records are collected for."""

from enum import StrEnum
from typing import Any, cast

from tortoise import fields
from tortoise.contrib.postgres.fields import ArrayField

from auth.classification import Classification as C
from models.base import Kept, Placement, Storage, TenantModel, ward


class ProjectStatus(StrEnum):
    """An ARCHIVED project is read, and takes no more records or changes of records."""

    ACTIVE = "ACTIVE"
    ARCHIVED = "ARCHIVED"


class Project(TenantModel):
    """A monitoring programme or commission of an organization.

    `locations_are_sensitive` says how records keep where they were made; `locations_rewriting`, that some from before
    the last change of that are still kept the other way. `fields_off` are the fields of records that it does without
    (`models/record_field.py`), None for none; `fields_emptying`, that what was kept of them before is still being
    emptied.
    """

    noun = "project"
    kept = Kept("For good: a project is archived, not deleted.")
    placement = Placement(project_column="id")

    code = ward(C.INTERNAL, fields.CharField(max_length=64), words=True)
    name = ward(C.INTERNAL, fields.CharField(max_length=200), words=True)
    description = ward(C.INTERNAL, fields.CharField(max_length=4000, null=True), words=True)
    status = ward(C.INTERNAL, fields.CharEnumField(ProjectStatus, max_length=16, default=ProjectStatus.ACTIVE))
    starts_on = ward(C.INTERNAL, fields.DateField(null=True))
    ends_on = ward(C.INTERNAL, fields.DateField(null=True))
    locations_are_sensitive = ward(C.INTERNAL, fields.BooleanField(default=False))
    locations_rewriting = ward(C.INTERNAL, fields.BooleanField(default=False))
    # The field's type says nothing of its being null.
    fields_off: list[str] | None = cast(Any, ward(C.INTERNAL, ArrayField("text", null=True)))
    fields_emptying: bool | None = cast(Any, ward(C.INTERNAL, fields.BooleanField(null=True)))
    version = ward(C.PUBLIC, fields.IntField(default=1))
    creation_digest = ward(C.SECRET, fields.BinaryField(null=True), holds=Storage.CONTENT_DIGEST)

    class Meta:
        table = "project"
