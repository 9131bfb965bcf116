"""Periods after which entries leave the audit trail, and the one way out of it."""

from pathlib import Path

from tortoise import fields, migrations
from tortoise.migrations import operations as ops
from uuid_utils.compat import uuid7

from models.audit_entry import EntryKind

SQL = Path(__file__).with_name("sql") / "0005_retention.sql"


class Migration(migrations.Migration):
    """The periods, and what lets go of entries. There is no way back: what left does not come back."""

    dependencies = [("models", "0004_incident")]

    operations = [
        ops.CreateModel(
            name="TrailRetention",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid7, unique=True, db_index=True)),
                ("organization_id", fields.UUIDField()),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
                (
                    "kind",
                    fields.CharEnumField(
                        description="CHANGE: CHANGE\nATTEMPT: ATTEMPT\nREAD: READ", enum_type=EntryKind, max_length=16
                    ),
                ),
                ("days", fields.IntField(null=True)),
            ],
            options={"table": "trail_retention", "app": "models", "pk_attr": "id"},
            bases=["TenantModel"],
        ),
        ops.RunSQL(SQL.read_text(), reverse_sql=None),
    ]
