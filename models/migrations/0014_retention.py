"""Periods after which data are deleted, runs that delete them, legal holds, and fields that projects do without."""

from pathlib import Path

from tortoise import fields, migrations
from tortoise.contrib.postgres.fields import ArrayField
from tortoise.migrations import operations as ops
from uuid_utils.compat import uuid7

from models.data_kind import DataKind
from models.encryption.column import EncryptedField
from models.legal_hold import HoldOn
from models.retention import RunStatus

SQL = Path(__file__).with_name("sql") / "0014_retention.sql"


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
    """There is no way back: what was deleted is gone, and what is held stays held."""

    dependencies = [("models", "0013_feed")]

    operations = [
        ops.AddField(model_name="Project", name="fields_off", field=ArrayField(null=True, element_type="text")),
        ops.AddField(model_name="Project", name="fields_emptying", field=fields.BooleanField(null=True)),
        ops.AddField(model_name="DataImport", name="drops_switched_off", field=fields.BooleanField(null=True)),
        _table(
            "DataRetention",
            "data_retention",
            ("kind", fields.CharEnumField(enum_type=DataKind, max_length=16)),
            ("days", fields.IntField(null=True)),
        ),
        _table(
            "RetentionRun",
            "retention_run",
            ("kind", fields.CharEnumField(enum_type=DataKind, max_length=16)),
            ("days", fields.IntField()),
            ("status", fields.CharEnumField(enum_type=RunStatus, max_length=16)),
            ("is_asked", fields.BooleanField(default=False)),
            ("moved_at", fields.DatetimeField()),
            ("ended_at", fields.DatetimeField(null=True)),
            ("deleted", fields.BigIntField(default=0)),
            ("parts", fields.BigIntField(default=0)),
            ("held", fields.BigIntField(null=True)),
            ("named", fields.BigIntField(null=True)),
            ("error_code", fields.CharField(null=True, max_length=40)),
        ),
        _table(
            "LegalHold",
            "legal_hold",
            ("subject_kind", fields.CharEnumField(enum_type=HoldOn, max_length=16)),
            ("subject", fields.UUIDField()),
            ("project_id", fields.UUIDField(null=True)),
            ("site_code", fields.CharField(null=True, max_length=64)),
            ("reason", EncryptedField(max_length=2000)),
            ("placed_by_id", fields.UUIDField()),
            ("lifted_at", fields.DatetimeField(null=True)),
            ("lifted_by_id", fields.UUIDField(null=True)),
            ("lift_reason", EncryptedField(null=True, max_length=2000)),
            ("version", fields.IntField(default=1)),
        ),
        ops.RunSQL(SQL.read_text(), reverse_sql=None),
    ]
