"""How people and programs prove who they are, how people come and go, and who looks over what all of them have."""

from pathlib import Path

from tortoise import fields, migrations
from tortoise.contrib.postgres.fields import ArrayField
from tortoise.migrations import operations as ops
from uuid_utils.compat import uuid7

from auth.role import OrganizationRole, ProjectRole
from models.access_review import AccessDecision, ReviewedKind
from models.authenticator import AuthenticatorKind
from models.challenge import ChallengeKind
from models.encryption.column import EncryptedField
from models.encryption.envelope import OwnerKind
from models.invitation import InvitationStatus
from models.outgoing_mail import MailKind, MailState

SQL = Path(__file__).with_name("sql") / "0006_identity.sql"


def _table(name: str, table: str, *columns: tuple[str, fields.Field]) -> ops.CreateModel:  # type: ignore[type-arg]
    return ops.CreateModel(
        name=name,
        fields=[
            ("id", fields.UUIDField(primary_key=True, default=uuid7)),
            ("organization_id", fields.UUIDField()),
            ("created_at", fields.DatetimeField(auto_now_add=True)),
            *columns,
        ],
        options={"table": table, "app": "models", "pk_attr": "id"},
        bases=["TenantModel"],
    )


def _outside(name: str, table: str, *columns: tuple[str, fields.Field]) -> ops.CreateModel:  # type: ignore[type-arg]
    return ops.CreateModel(
        name=name,
        fields=[("id", fields.UUIDField(primary_key=True, default=uuid7)), *columns],
        options={"table": table, "app": "models", "pk_attr": "id"},
        bases=["WardModel"],
    )


class Migration(migrations.Migration):
    """There is no way back: who was let in, and who left, stays."""

    dependencies = [("models", "0005_retention")]

    operations = [
        _table(
            "Authenticator",
            "authenticator",
            ("user_id", fields.UUIDField()),
            ("membership_id", fields.UUIDField()),
            ("kind", fields.CharEnumField(enum_type=AuthenticatorKind, max_length=16)),
            ("name", EncryptedField(null=True, max_length=100, owner_column="user_id", pad=True)),
            ("secret", EncryptedField(null=True, max_length=64, owner_column="user_id")),
            ("credential", fields.BinaryField(null=True)),
            ("public_key", fields.BinaryField(null=True)),
            ("transports", ArrayField(null=True, element_type="TEXT")),
            ("digest", fields.BinaryField(null=True)),
            ("confirmed_at", fields.DatetimeField(null=True)),
        ),
        _table(
            "AuthenticatorUse",
            "authenticator_use",
            ("user_id", fields.UUIDField()),
            ("step", fields.BigIntField(null=True)),
            ("sign_count", fields.BigIntField(null=True)),
            ("used_at", fields.DatetimeField()),
        ),
        _outside(
            "Challenge",
            "challenge",
            ("kind", fields.CharEnumField(enum_type=ChallengeKind, max_length=24)),
            ("digest", fields.BinaryField()),
            ("user_id", fields.UUIDField(null=True)),
            ("tenant_id", fields.UUIDField(null=True)),
            ("membership_id", fields.UUIDField(null=True)),
            ("device_id", fields.UUIDField(null=True)),
            ("session_id", fields.UUIDField(null=True)),
            ("device_key", fields.CharField(null=True, max_length=64)),
            ("nonce", fields.BinaryField(null=True)),
            ("attempts", fields.IntField(default=0)),
            ("created_at", fields.DatetimeField()),
            ("expires_at", fields.DatetimeField()),
            ("answered_at", fields.DatetimeField(null=True)),
        ),
        _outside(
            "Throttle",
            "throttle",
            ("failures", fields.IntField(default=0)),
            ("failed_at", fields.DatetimeField()),
            ("free_at", fields.DatetimeField()),
        ),
        _table(
            "OutgoingMail",
            "outgoing_mail",
            ("kind", fields.CharEnumField(enum_type=MailKind, max_length=32)),
            ("user_id", fields.UUIDField(null=True)),
            ("email", EncryptedField(null=True, max_length=254, pad=True)),
            ("about", fields.UUIDField(null=True)),
            ("state", fields.CharEnumField(enum_type=MailState, max_length=16, default=MailState.PENDING)),
            ("attempts", fields.IntField(default=0)),
            ("next_attempt_at", fields.DatetimeField()),
            ("last_error", fields.CharField(null=True, max_length=100)),
            ("sent_at", fields.DatetimeField(null=True)),
        ),
        _table(
            "Invitation",
            "invitation",
            (
                "email",
                EncryptedField(max_length=254, owner_column="email_index", owner_kind=OwnerKind.SUBJECT, pad=True),
            ),
            ("email_index", fields.BinaryField()),
            (
                "name",
                EncryptedField(max_length=200, owner_column="email_index", owner_kind=OwnerKind.SUBJECT, pad=True),
            ),
            ("role", fields.CharEnumField(enum_type=OrganizationRole, max_length=16)),
            ("custom_role_id", fields.UUIDField(null=True)),
            ("project_id", fields.UUIDField(null=True)),
            ("project_role", fields.CharEnumField(enum_type=ProjectRole, max_length=16, null=True)),
            ("token_digest", fields.BinaryField(null=True)),
            ("invited_by_id", fields.UUIDField()),
            ("expires_at", fields.DatetimeField()),
            (
                "status",
                fields.CharEnumField(enum_type=InvitationStatus, max_length=16, default=InvitationStatus.PENDING),
            ),
            ("membership_id", fields.UUIDField(null=True)),
            ("version", fields.IntField(default=1)),
        ),
        _table(
            "ServiceAccountToken",
            "service_account_token",
            ("service_account_id", fields.UUIDField()),
            ("token_digest", fields.BinaryField()),
            ("hint", fields.CharField(max_length=8)),
            ("expires_at", fields.DatetimeField()),
            ("created_by_id", fields.UUIDField()),
            ("revoked_by_id", fields.UUIDField(null=True)),
            ("revoked_at", fields.DatetimeField(null=True)),
        ),
        _table(
            "ServiceAccountUse",
            "service_account_use",
            ("used_at", fields.DatetimeField()),
            ("used_from", fields.CharField(null=True, max_length=64)),
        ),
        _table(
            "AccessReview",
            "access_review",
            ("opened_by_id", fields.UUIDField(null=True)),
            ("due_at", fields.DatetimeField()),
            ("closed_by_id", fields.UUIDField(null=True)),
            ("closed_at", fields.DatetimeField(null=True)),
            ("version", fields.IntField(default=1)),
        ),
        _table(
            "AccessReviewItem",
            "access_review_item",
            ("access_review_id", fields.UUIDField()),
            ("kind", fields.CharEnumField(enum_type=ReviewedKind, max_length=24)),
            ("subject", fields.UUIDField()),
            ("membership_id", fields.UUIDField()),
            ("project_id", fields.UUIDField(null=True)),
            ("role", fields.CharField(max_length=100)),
            ("since", fields.DatetimeField()),
            ("last_used_at", fields.DatetimeField(null=True)),
            ("decision", fields.CharEnumField(enum_type=AccessDecision, max_length=16, null=True)),
            ("decided_by_id", fields.UUIDField(null=True)),
            ("decided_at", fields.DatetimeField(null=True)),
        ),
        ops.RunSQL(SQL.read_text(), reverse_sql=None),
    ]
