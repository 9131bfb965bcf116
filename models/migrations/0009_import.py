"""Imports of files, their mappings, the files themselves, and what became of their rows."""

from pathlib import Path

from tortoise import fields, migrations
from tortoise.contrib.postgres.fields import ArrayField
from tortoise.migrations import operations as ops
from uuid_utils.compat import uuid7

from models.data_import import ImportKind, ImportStatus
from models.encryption.column import EncryptedField
from models.encryption.envelope import KeyPurpose, OwnerKind

SQL = Path(__file__).with_name("sql") / "0009_import.sql"


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
    """There is no way back: what was imported stays."""

    dependencies = [("models", "0008_site")]

    operations = [
        _table(
            "DataImport",
            "data_import",
            ("project_id", fields.UUIDField()),
            ("kind", fields.CharEnumField(enum_type=ImportKind, max_length=16)),
            ("status", fields.CharEnumField(enum_type=ImportStatus, max_length=16, default=ImportStatus.OPEN)),
            ("file_name", fields.CharField(max_length=200)),
            ("size", fields.BigIntField()),
            ("mapping", fields.CharField(max_length=100_000, null=True)),
            ("created_by_id", fields.UUIDField(null=True)),
            ("run", fields.IntField(default=0)),
            ("is_dry_run", fields.BooleanField(default=False)),
            ("started_by_id", fields.UUIDField(null=True)),
            ("started_by_program_id", fields.UUIDField(null=True)),
            ("started_on_id", fields.UUIDField(null=True)),
            ("scope", ArrayField(element_type="text", null=True)),
            ("started_at", fields.DatetimeField(null=True)),
            ("ended_at", fields.DatetimeField(null=True)),
            ("total_rows", fields.BigIntField(null=True)),
            ("created_rows", fields.BigIntField(null=True)),
            ("known_rows", fields.BigIntField(null=True)),
            ("rejected_rows", fields.BigIntField(null=True)),
            ("blank_rows", fields.BigIntField(null=True)),
            ("records_created", fields.BigIntField(null=True)),
            ("error_code", fields.CharField(max_length=32, null=True)),
            ("error_message", fields.CharField(max_length=2000, null=True)),
        ),
        _table(
            "ImportMapping",
            "import_mapping",
            ("project_id", fields.UUIDField()),
            ("name", fields.CharField(max_length=200)),
            ("mapping", fields.CharField(max_length=100_000)),
            ("created_by_id", fields.UUIDField(null=True)),
            ("version", fields.IntField(default=1)),
        ),
        _table(
            "ImportChunk",
            "import_chunk",
            ("import_id", fields.UUIDField()),
            ("start", fields.BigIntField()),
            ("length", fields.IntField()),
            (
                "content",
                EncryptedField(
                    max_length=2 * 1024 * 1024,
                    owner_column="import_id",
                    owner_kind=OwnerKind.IMPORT,
                    purpose=KeyPurpose.CONTENT,
                ),
            ),
        ),
        _table(
            "ImportBlock",
            "import_block",
            ("import_id", fields.UUIDField()),
            ("run", fields.IntField()),
            ("position", fields.IntField()),
            ("total_rows", fields.BigIntField()),
            ("created_rows", fields.IntField()),
            ("known_rows", fields.IntField()),
            ("rejected_rows", fields.IntField()),
            ("blank_rows", fields.IntField()),
            ("records_created", fields.IntField()),
            ("fates", fields.CharField(max_length=4_000_000)),
        ),
        ops.RunSQL(SQL.read_text(), reverse_sql=None),
    ]
