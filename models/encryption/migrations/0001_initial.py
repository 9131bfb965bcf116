"""The keystore: its tables, the rule of one current key per owner and purpose, and what the service may do."""

from tortoise import fields, migrations
from tortoise.contrib.postgres.fields import ArrayField
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import CheckConstraint, UniqueConstraint


class Migration(migrations.Migration):
    """Creates the tables. The service never deletes a row."""

    initial = True

    operations = [
        ops.CreateModel(
            name="WrappedKey",
            fields=[
                ("id", fields.UUIDField(primary_key=True, unique=True, db_index=True)),
                ("owner_kind", fields.CharField(max_length=16)),
                ("owner_id", fields.UUIDField()),
                ("purpose", fields.CharField(max_length=16)),
                ("organization_id", fields.UUIDField(null=True)),
                ("provider", fields.CharField(max_length=32)),
                ("wrapping_key", fields.CharField(max_length=300)),
                ("wrapped", fields.BinaryField(null=True)),
                ("seals", fields.BigIntField(default=0)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ("retired_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("emptied_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("destroyed_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "wrapped_key",
                "app": "keystore",
                "pk_attr": "id",
                "table_description": "Data keys, each wrapped by the key-encryption key.",
            },
            bases=["Model"],
        ),
        ops.AddConstraint(
            model_name="WrappedKey",
            constraint=UniqueConstraint(
                fields=("owner_kind", "owner_id", "purpose"),
                name="wrapped_key_current",
                condition="retired_at is null and destroyed_at is null",
            ),
        ),
        ops.AddConstraint(
            model_name="WrappedKey",
            constraint=CheckConstraint(
                check="(wrapped is null) = (destroyed_at is not null)", name="wrapped_key_destroyed"
            ),
        ),
        ops.CreateModel(
            name="DestructionRow",
            fields=[
                ("id", fields.UUIDField(primary_key=True, unique=True, db_index=True)),
                ("at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("person_id", fields.UUIDField(null=True)),
                ("organization_id", fields.UUIDField(null=True)),
                ("within_ids", ArrayField(element_type="UUID")),
                ("key_ids", ArrayField(element_type="UUID")),
            ],
            options={
                "table": "destruction",
                "app": "keystore",
                "pk_attr": "id",
                "table_description": "Keys that were destroyed, and for whose erasure.",
            },
            bases=["Model"],
        ),
        ops.RunSQL(
            """
            do $$ begin
                if not exists (select from pg_roles where rolname = 'fieldward_service') then
                    create role fieldward_service nologin;
                end if;
            exception when duplicate_object or unique_violation then
                -- Roles are the cluster's: the main database's migration may have made it meanwhile.
                null;
            end $$;
            revoke all on wrapped_key from public;
            create index on wrapped_key (organization_id) where organization_id is not null;
            create index on wrapped_key (owner_id) where owner_kind = 'PERSON' and destroyed_at is not null;
            create index on wrapped_key (retired_at) where retired_at is not null and emptied_at is null;
            grant select, insert,
                  update (provider, wrapping_key, wrapped, seals, retired_at, emptied_at, destroyed_at)
                on wrapped_key to fieldward_service;
            revoke all on destruction from public;
            -- A subject's id is the blind index of a name, by which the name could be tried: it goes with the keys.
            -- Nothing else changes whose a key is.
            create function fieldward_forget_subject() returns trigger language plpgsql
              set search_path = pg_catalog, pg_temp as $f$
            begin
              new.owner_id := gen_random_uuid();
              return new;
            end $f$;
            create trigger forget_subject before update on wrapped_key for each row
              when (old.destroyed_at is null and new.destroyed_at is not null and new.owner_kind = 'SUBJECT')
              execute function fieldward_forget_subject();
            alter table wrapped_key enable always trigger forget_subject;
            grant select, insert on destruction to fieldward_service;
            """,
            reverse_sql="revoke all on wrapped_key, destruction from fieldward_service",
        ),
    ]
