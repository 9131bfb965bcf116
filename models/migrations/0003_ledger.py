"""The trees that seal the audit trail."""

from pathlib import Path

from tortoise import fields, migrations
from tortoise.migrations import operations as ops

SQL = Path(__file__).with_name("sql") / "0003_ledger.sql"


class Migration(migrations.Migration):
    """Leaves, nodes, signed heads, and who has seen them. There is no way back: the audit trail is not taken down."""

    dependencies = [("models", "0002_wards")]

    operations = [
        ops.CreateModel(
            name="SealedLeaf",
            fields=[
                ("id", fields.UUIDField(primary_key=True)),
                ("organization_id", fields.UUIDField()),
                ("leaf_index", fields.BigIntField()),
                ("leaf_hash", fields.BinaryField()),
                ("expired_by", fields.UUIDField(null=True)),
            ],
            options={"table": "sealed_leaf", "app": "models", "pk_attr": "id"},
            bases=["WardModel"],
        ),
        ops.CreateModel(
            name="SealedNode",
            fields=[
                ("id", fields.UUIDField(primary_key=True)),
                ("organization_id", fields.UUIDField()),
                ("level", fields.SmallIntField()),
                ("node_index", fields.BigIntField()),
                ("node_hash", fields.BinaryField()),
            ],
            options={"table": "sealed_node", "app": "models", "pk_attr": "id"},
            bases=["WardModel"],
        ),
        ops.CreateModel(
            name="SealedBatch",
            fields=[
                ("id", fields.UUIDField(primary_key=True)),
                ("organization_id", fields.UUIDField()),
                ("tree_size", fields.BigIntField()),
                ("root_hash", fields.BinaryField()),
                ("frontier", fields.BinaryField()),
                ("through_transaction", fields.BigIntField()),
                ("cluster", fields.BigIntField()),
                ("generation", fields.SmallIntField(default=1)),
                ("heads_index", fields.BigIntField(null=True)),
                ("sealed_at", fields.DatetimeField()),
                ("checkpoint", fields.CharField(max_length=4096)),
            ],
            options={"table": "sealed_batch", "app": "models", "pk_attr": "id"},
            bases=["WardModel"],
        ),
        ops.CreateModel(
            name="Cosignature",
            fields=[
                ("id", fields.UUIDField(primary_key=True)),
                ("organization_id", fields.UUIDField()),
                ("tree_size", fields.BigIntField()),
                ("witness", fields.CharField(max_length=512)),
                ("line", fields.CharField(max_length=1024)),
                ("cosigned_at", fields.DatetimeField()),
            ],
            options={"table": "cosignature", "app": "models", "pk_attr": "id"},
            bases=["WardModel"],
        ),
        ops.CreateModel(
            name="Publication",
            fields=[
                ("id", fields.UUIDField(primary_key=True)),
                ("organization_id", fields.UUIDField()),
                ("heads_size", fields.BigIntField()),
                ("published_at", fields.DatetimeField()),
            ],
            options={"table": "publication", "app": "models", "pk_attr": "id"},
            bases=["WardModel"],
        ),
        ops.RunSQL(SQL.read_text(), reverse_sql=None),
    ]
