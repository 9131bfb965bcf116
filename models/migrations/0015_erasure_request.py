"""Requests for erasure, and what an erasure finds in exports and letters."""

from pathlib import Path

from tortoise import fields, migrations
from tortoise.migrations import operations as ops
from uuid_utils.compat import uuid7

from models.encryption.column import EncryptedField
from models.encryption.envelope import OwnerKind
from models.erasure_request import ErasureKind, ErasureStatus

SQL = Path(__file__).with_name("sql") / "0015_erasure_request.sql"


class Migration(migrations.Migration):
    """There is no way back: what was asked for stays written down."""

    dependencies = [("models", "0014_retention")]

    operations = [
        ops.CreateModel(
            name="ErasureRequest",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid7)),
                ("organization_id", fields.UUIDField()),
                ("created_at", fields.DatetimeField(auto_now_add=True)),
                ("kind", fields.CharEnumField(enum_type=ErasureKind, max_length=16)),
                (
                    "status",
                    fields.CharEnumField(enum_type=ErasureStatus, max_length=16, default=ErasureStatus.REQUESTED),
                ),
                ("membership_id", fields.UUIDField(null=True)),
                ("user_id", fields.UUIDField(null=True)),
                ("requested_by_id", fields.UUIDField()),
                ("confirmed_by_id", fields.UUIDField(null=True)),
                ("withdrawn_by_id", fields.UUIDField(null=True)),
                (
                    "named",
                    EncryptedField(
                        null=True, max_length=10_000, owner_column="id", owner_kind=OwnerKind.ERASURE, pad=True
                    ),
                ),
                (
                    "reason",
                    EncryptedField(null=True, max_length=2000, owner_column="id", owner_kind=OwnerKind.ERASURE),
                ),
                ("name_indexes", fields.BinaryField(null=True)),
                ("records", fields.BigIntField(null=True)),
                ("due_at", fields.DatetimeField()),
                ("confirmed_at", fields.DatetimeField(null=True)),
                ("execute_after", fields.DatetimeField(null=True)),
                ("held_at", fields.DatetimeField(null=True)),
                ("started_at", fields.DatetimeField(null=True)),
                ("finished_at", fields.DatetimeField(null=True)),
                ("token_digest", fields.BinaryField(null=True)),
                ("certificate", fields.CharField(null=True, max_length=1_000_000)),
                ("version", fields.IntField(default=1)),
            ],
            options={"table": "erasure_request", "app": "models", "pk_attr": "id"},
            bases=["TenantModel"],
        ),
        ops.AddField("DataExport", "searched_for", fields.BinaryField(null=True)),
        ops.AddField("OutgoingMail", "email_index", fields.BinaryField(null=True)),
        ops.RemoveField("OutgoingMail", "email"),
        ops.RunSQL(SQL.read_text(), reverse_sql=None),
    ]
