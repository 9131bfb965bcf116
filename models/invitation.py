"""Invitations: how people join an organization."""

from enum import StrEnum
from typing import Any, cast

from tortoise import fields

from auth.classification import Classification as C
from auth.role import OrganizationRole, ProjectRole
from models.base import Kept, Placement, Search, Storage, TenantModel, ward
from models.data_kind import DataKind, Period
from models.encryption.blind_index import normalize_email
from models.encryption.column import EncryptedField
from models.encryption.envelope import OwnerKind


class InvitationStatus(StrEnum):
    """PENDING ones that are over are neither accepted nor revoked; sending them again renews them."""

    PENDING = "PENDING"
    ACCEPTED = "ACCEPTED"
    REVOKED = "REVOKED"


class Invitation(TenantModel):
    """An address that somebody was invited by, and what they will be. Of the link that they get only a digest is kept.

    `name` is how they will be called until they or somebody else says otherwise. Address and name lie under a key of
    the address's own, whether there is an account of it or not. `membership_id`: who came of it.
    """

    noun = "membership"
    kept = Kept(
        "For good: an invitation is accepted or revoked, and its row stays.",
        period=Period(DataKind.INVITATION, 30, "the moment until which it could be accepted"),
    )
    placement = Placement()

    email = ward(
        C.PERSONAL,
        EncryptedField(max_length=254, owner_column="email_index", owner_kind=OwnerKind.SUBJECT, pad=True),
        search=Search("email_index", normalize_email),
    )
    email_index = ward(C.SECRET, fields.BinaryField(), holds=Storage.BLIND_INDEX)
    name = ward(
        C.PERSONAL,
        EncryptedField(max_length=200, owner_column="email_index", owner_kind=OwnerKind.SUBJECT, pad=True),
    )
    role = ward(C.INTERNAL, fields.CharEnumField(OrganizationRole, max_length=16))
    custom_role_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    project_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    # The field's type says nothing of its being null.
    project_role: ProjectRole | None = cast(
        Any, ward(C.INTERNAL, fields.CharEnumField(ProjectRole, max_length=16, null=True))
    )
    token_digest = ward(C.SECRET, fields.BinaryField(null=True), holds=Storage.TOKEN_DIGEST)
    invited_by_id = ward(C.INTERNAL, fields.UUIDField())
    expires_at = ward(C.INTERNAL, fields.DatetimeField())
    status = ward(C.INTERNAL, fields.CharEnumField(InvitationStatus, max_length=16, default=InvitationStatus.PENDING))
    membership_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    version = ward(C.PUBLIC, fields.IntField(default=1))

    class Meta:
        table = "invitation"
