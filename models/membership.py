"""Who belongs to which organization and project, in which role."""

from enum import StrEnum
from typing import Any, cast

from tortoise import fields

from auth.classification import Classification as C
from auth.permission import Permission
from auth.role import OrganizationRole, ProjectRole
from models.base import Kept, Placement, TenantModel, ward
from models.data_kind import DataKind, Period
from models.encryption.column import EncryptedField


class MembershipStatus(StrEnum):
    """SUSPENDED members stay listed, can't get in, and keep what they made.

    So do REMOVED ones, who have left, hold no role any more and come back by an invitation alone; and ERASED ones,
    whose name is gone.
    """

    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"
    REMOVED = "REMOVED"
    ERASED = "ERASED"


class Membership(TenantModel):
    """A person in an organization: the role, and the name as shown there.

    Who has one of the organization's own roles has the built-in role MEMBER beside it. From `role_expires_at` on, the
    person is a MEMBER and nothing else.
    """

    noun = "membership"
    kept = Kept(
        "For good: a member is suspended or erased, and stays listed, once erased without a name.",
        period=Period(DataKind.MEMBERSHIP, 90, "their leaving, once nothing that is kept names them"),
    )
    placement = Placement(own_column="id")

    user_id = ward(C.INTERNAL, fields.UUIDField())
    role = ward(C.INTERNAL, fields.CharEnumField(OrganizationRole, max_length=16))
    custom_role_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    role_expires_at = ward(C.INTERNAL, fields.DatetimeField(null=True))
    name = ward(C.PERSONAL, EncryptedField(max_length=200, owner_column="user_id", pad=True))
    status = ward(C.INTERNAL, fields.CharEnumField(MembershipStatus, max_length=16, default=MembershipStatus.ACTIVE))
    version = ward(C.PUBLIC, fields.IntField(default=1))

    class Meta:
        table = "membership"


class ProjectMembership(TenantModel):
    """A member's role in one project: a built-in one, or one of the organization's own. It gives nothing any more
    from `expires_at` on.
    """

    noun = "project_membership"
    kept = Kept(
        "Until the role is taken away; one that has expired stays until then. The trail keeps what it was.",
        deleted_by=(Permission.PROJECT_MEMBERSHIP_ASSIGN,),
    )
    placement = Placement(project_column="project_id", own_column="membership_id")

    project_id = ward(C.INTERNAL, fields.UUIDField())
    membership_id = ward(C.INTERNAL, fields.UUIDField())
    # The field\'s type says nothing of its being null.
    role: ProjectRole | None = cast(Any, ward(C.INTERNAL, fields.CharEnumField(ProjectRole, max_length=16, null=True)))
    custom_role_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    expires_at = ward(C.INTERNAL, fields.DatetimeField(null=True))

    class Meta:
        table = "project_membership"
