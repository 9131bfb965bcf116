"""Composite keys, row-level security, audit triggers, and the service's role."""

from pathlib import Path

from tortoise import migrations
from tortoise.migrations import operations as ops

SQL = Path(__file__).with_name("sql") / "0002_wards.sql"


class Migration(migrations.Migration):
    """The walls that hold whoever writes. There is no way back: the audit trail is not taken down."""

    dependencies = [("models", "0001_initial")]

    operations = [ops.RunSQL(SQL.read_text(), reverse_sql=None)]
