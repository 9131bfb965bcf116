"""That what is in imports holds to what 0016 says."""

from pathlib import Path

from tortoise import migrations
from tortoise.migrations import operations as ops

SQL = Path(__file__).with_name("sql") / "0017_site_properties_hold.sql"


class Migration(migrations.Migration):
    """There is no way back, and nothing to go back from."""

    dependencies = [("models", "0016_site_properties")]

    operations = [ops.RunSQL(SQL.read_text(), reverse_sql=None)]
