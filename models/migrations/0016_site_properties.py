"""Properties of features by other names, in imports of sites."""

from pathlib import Path

from tortoise import migrations
from tortoise.migrations import operations as ops

SQL = Path(__file__).with_name("sql") / "0016_site_properties.sql"


class Migration(migrations.Migration):
    """There is no way back: what was imported so stays written down."""

    dependencies = [("models", "0015_erasure_request")]

    operations = [ops.RunSQL(SQL.read_text(), reverse_sql=None)]
