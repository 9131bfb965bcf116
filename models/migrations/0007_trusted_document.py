"""Documents that clients were built with, and whether anything else is run for an organization."""

from pathlib import Path

from tortoise import fields, migrations
from tortoise.migrations import operations as ops
from uuid_utils.compat import uuid7

from models.organization import DocumentPolicy

SQL = Path(__file__).with_name("sql") / "0007_trusted_document.sql"


class Migration(migrations.Migration):
    """There is no way back: what an organization trusts is not forgotten."""

    dependencies = [("models", "0006_identity")]

    operations = [
        ops.AddField(
            model_name="Organization",
            name="people_documents",
            field=fields.CharEnumField(enum_type=DocumentPolicy, max_length=16, null=True),
        ),
        ops.AddField(
            model_name="Organization",
            name="program_documents",
            field=fields.CharEnumField(enum_type=DocumentPolicy, max_length=16, null=True),
        ),
        ops.AddField(
            model_name="Organization",
            name="documents_version",
            field=fields.IntField(null=True),
        ),
        ops.CreateModel(
            name="TrustedDocument",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid7)),
                ("organization_id", fields.UUIDField()),
                ("created_at", fields.DatetimeField(auto_now_add=True)),
                ("sha256", fields.CharField(max_length=64)),
                ("text", fields.CharField(max_length=65_536)),
                ("client_name", fields.CharField(max_length=100)),
                ("client_version", fields.CharField(max_length=100)),
            ],
            options={"table": "trusted_document", "app": "models", "pk_attr": "id"},
            bases=["TenantModel"],
        ),
        ops.RunSQL(SQL.read_text(), reverse_sql=None),
    ]
