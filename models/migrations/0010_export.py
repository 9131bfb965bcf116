"""Exports, how far they are, and the sealed pieces of their files."""

from pathlib import Path

from tortoise import fields, migrations
from tortoise.contrib.postgres.fields import ArrayField
from tortoise.migrations import operations as ops
from uuid_utils.compat import uuid7

from models.data_export import ExportFormat, ExportStatus
from models.encryption.column import EncryptedField
from models.encryption.envelope import OwnerKind

SQL = Path(__file__).with_name("sql") / "0010_export.sql"


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


class Migration(migrations.Migration):
    """There is no way back: what left stays written down."""

    dependencies = [("models", "0009_import")]

    operations = [
        _table(
            "DataExport",
            "data_export",
            ("created_by_id", fields.UUIDField(null=True)),
            ("service_account_id", fields.UUIDField(null=True)),
            ("device_id", fields.UUIDField(null=True)),
            ("token_id", fields.UUIDField(null=True)),
            ("token_scope", ArrayField(null=True, element_type="TEXT")),
            ("format", fields.CharEnumField(enum_type=ExportFormat, max_length=16)),
            ("status", fields.CharEnumField(enum_type=ExportStatus, max_length=16, default=ExportStatus.PENDING)),
            (
                "filter_given",
                EncryptedField(null=True, max_length=100_000, owner_column="id", owner_kind=OwnerKind.EXPORT),
            ),
            ("request", EncryptedField(null=True, max_length=200_000, owner_column="id", owner_kind=OwnerKind.EXPORT)),
            ("used_rights", ArrayField(null=True, element_type="TEXT")),
            ("file_name", fields.CharField(null=True, max_length=100)),
            ("media_type", fields.CharField(null=True, max_length=100)),
            ("size", fields.BigIntField(null=True)),
            ("sha256", fields.CharField(null=True, max_length=64)),
            ("records", fields.BigIntField(null=True)),
            ("measurements", fields.BigIntField(null=True)),
            (
                "manifest",
                EncryptedField(null=True, max_length=2_000_000, owner_column="id", owner_kind=OwnerKind.EXPORT),
            ),
            ("error_code", fields.CharField(null=True, max_length=40)),
            ("finished_at", fields.DatetimeField(null=True)),
            ("expires_at", fields.DatetimeField(null=True)),
            ("link_digest", fields.BinaryField(null=True)),
            ("link_expires_at", fields.DatetimeField(null=True)),
            ("link_holder", fields.UUIDField(null=True)),
            ("creation_digest", fields.BinaryField(null=True)),
        ),
        _table(
            "DataExportProgress",
            "data_export_progress",
            ("created_by_id", fields.UUIDField(null=True)),
            ("attempts", fields.IntField(default=0)),
            ("claimed_by", fields.UUIDField(null=True)),
            ("claimed_until", fields.DatetimeField(null=True)),
            ("started_at", fields.DatetimeField(null=True)),
            ("moved_at", fields.DatetimeField(null=True)),
            ("rows_total", fields.BigIntField(null=True)),
            ("rows_done", fields.BigIntField(default=0)),
            ("bytes_done", fields.BigIntField(default=0)),
            ("swept_at", fields.DatetimeField(null=True)),
        ),
        _table(
            "DataExportPiece",
            "data_export_piece",
            ("export_id", fields.UUIDField()),
            ("position", fields.IntField()),
            ("start", fields.BigIntField()),
            ("size", fields.IntField()),
            ("content", fields.BinaryField()),
        ),
        ops.RunSQL(SQL.read_text(), reverse_sql=None),
    ]
