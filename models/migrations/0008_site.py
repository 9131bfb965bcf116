"""The sites of projects."""

from pathlib import Path

from tortoise import fields, migrations
from tortoise.migrations import operations as ops
from uuid_utils.compat import uuid7

from models.encryption.codec import Place
from models.encryption.column import EncryptedField

SQL = Path(__file__).with_name("sql") / "0008_site.sql"


class Migration(migrations.Migration):
    """There is no way back: sites stay."""

    dependencies = [("models", "0007_trusted_document")]

    operations = [
        ops.CreateModel(
            name="Site",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid7)),
                ("organization_id", fields.UUIDField()),
                ("created_at", fields.DatetimeField(auto_now_add=True)),
                ("project_id", fields.UUIDField()),
                ("code", fields.CharField(max_length=64)),
                ("name", fields.CharField(max_length=200)),
                ("kind", fields.CharField(null=True, max_length=45)),
                ("latitude", fields.FloatField(null=True)),
                ("longitude", fields.FloatField(null=True)),
                ("location_is_coarse", fields.BooleanField(default=False)),
                ("exact_location", EncryptedField(null=True, max_length=64, codec=Place, pad=True)),
                ("description", fields.CharField(null=True, max_length=4000)),
                ("version", fields.IntField(default=1)),
                ("creation_digest", fields.BinaryField(null=True)),
            ],
            options={"table": "site", "app": "models", "pk_attr": "id"},
            bases=["TenantModel"],
        ),
        ops.RunSQL(SQL.read_text(), reverse_sql=None),
    ]
