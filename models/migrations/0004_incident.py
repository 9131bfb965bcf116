"""Incidents, their evidence, how far the trail was judged, and the alarms that leave."""

from pathlib import Path

from tortoise import fields, migrations
from tortoise.migrations import operations as ops
from uuid_utils.compat import uuid7

from models.encryption.column import EncryptedField
from models.incident import Channel, DeliveryState, IncidentSeverity, IncidentStatus

SQL = Path(__file__).with_name("sql") / "0004_incident.sql"


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
    """There is no way back: what was found stays."""

    dependencies = [("models", "0003_ledger")]

    operations = [
        _table(
            "Incident",
            "incident",
            ("rule", fields.CharField(max_length=64)),
            ("severity", fields.CharEnumField(enum_type=IncidentSeverity, max_length=16)),
            (
                "status",
                fields.CharEnumField(enum_type=IncidentStatus, max_length=16, default=IncidentStatus.OPEN),
            ),
            ("key", fields.CharField(max_length=200)),
            ("opened_at", fields.DatetimeField()),
            ("first_seen_at", fields.DatetimeField()),
            ("last_seen_at", fields.DatetimeField()),
            ("count", fields.BigIntField()),
            ("user_id", fields.UUIDField(null=True)),
            ("membership_id", fields.UUIDField(null=True)),
            ("device_id", fields.UUIDField(null=True)),
            ("service_account_id", fields.UUIDField(null=True)),
            ("newest_entry_id", fields.UUIDField(null=True)),
            ("acknowledged_by_id", fields.UUIDField(null=True)),
            ("acknowledged_at", fields.DatetimeField(null=True)),
            ("closed_by_id", fields.UUIDField(null=True)),
            ("closed_at", fields.DatetimeField(null=True)),
            ("note", EncryptedField(max_length=2000, null=True)),
            ("version", fields.IntField(default=1)),
        ),
        _table(
            "IncidentEvidence",
            "incident_evidence",
            ("incident_id", fields.UUIDField()),
            ("entry_id", fields.UUIDField()),
        ),
        _table(
            "IncidentCursor",
            "incident_cursor",
            ("leaf_index", fields.BigIntField()),
            ("judged_at", fields.DatetimeField()),
        ),
        _table(
            "AlarmDelivery",
            "alarm_delivery",
            ("incident_id", fields.UUIDField()),
            ("channel", fields.CharEnumField(enum_type=Channel, max_length=16)),
            ("state", fields.CharEnumField(enum_type=DeliveryState, max_length=16, default=DeliveryState.PENDING)),
            ("count", fields.BigIntField()),
            ("attempts", fields.IntField(default=0)),
            ("next_attempt_at", fields.DatetimeField()),
            ("destination", fields.CharField(max_length=300, null=True)),
            ("last_error", fields.CharField(max_length=100, null=True)),
            ("delivered_at", fields.DatetimeField(null=True)),
        ),
        ops.RunSQL(SQL.read_text(), reverse_sql=None),
    ]
