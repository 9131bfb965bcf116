"""What was done under keys by which clients repeat requests."""

from pathlib import Path

from orjson import loads
from tortoise import fields, migrations
from tortoise.fields.data import JSON_DUMPS
from tortoise.migrations import operations as ops
from uuid_utils.compat import uuid7

SQL = Path(__file__).with_name("sql") / "0011_idempotency.sql"


class Migration(migrations.Migration):
    """The table and its walls."""

    dependencies = [("models", "0010_export")]

    operations = [
        ops.CreateModel(
            name="IdempotencyKey",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid7)),
                ("organization_id", fields.UUIDField()),
                ("created_at", fields.DatetimeField(auto_now_add=True)),
                ("content_digest", fields.BinaryField()),
                ("answers", fields.JSONField(encoder=JSON_DUMPS, decoder=loads)),
            ],
            options={"table": "idempotency_key", "app": "models", "pk_attr": "id"},
            bases=["TenantModel"],
        ),
        ops.RunSQL(SQL.read_text(), reverse_sql=None),
    ]
