"""What the feed of changes is read by."""

from pathlib import Path

from tortoise import migrations
from tortoise.migrations import operations as ops

SQL = Path(__file__).with_name("sql") / "0013_feed.sql"


class Migration(migrations.Migration):
    """An index, without which a feed would look through what all organizations changed; and who is to be woken."""

    dependencies = [("models", "0011_idempotency")]

    operations = [
        ops.RunSQL(
            SQL.read_text(), reverse_sql="drop index audit_entry_feed; drop function fieldward_changed(bigint, bigint)"
        )
    ]
