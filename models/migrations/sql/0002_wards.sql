-- The walls that hold whoever writes: composite keys, row-level security, audit triggers, grants.
-- Run by the owner of the tables. The service's role owns nothing and can take none of this down.

-- Every function ends its search_path with pg_temp: left out, it comes first for types, and whoever can make a
-- temporary type would run code as the owner. Nobody can, in this database:
do $$ begin
  execute format('revoke temporary on database %I from public', current_database());
exception when insufficient_privilege then
  raise notice 'the database is not the owner''s: revoke temporary on it from public yourself';
end $$;

-- ------------------------------------------------------------------ who is the tenant of this transaction
create function fieldward_organization() returns uuid language sql stable parallel safe
  set search_path = pg_catalog, pg_temp as
  $$ select nullif(current_setting('fieldward.organization_id', true), '')::uuid $$;
create function fieldward_user() returns uuid language sql stable parallel safe
  set search_path = pg_catalog, pg_temp as
  $$ select nullif(current_setting('fieldward.user_id', true), '')::uuid $$;
create function fieldward_email_index() returns bytea language sql stable parallel safe
  set search_path = pg_catalog, pg_temp as
  $$ select decode(nullif(current_setting('fieldward.email_index', true), ''), 'hex') $$;

-- ------------------------------------------------------------------ composite keys: no row can point into another tenant
do $$
declare t text;
begin
  foreach t in array array['custom_role', 'membership', 'project_membership', 'project', 'device', 'record', 'measurement',
                           'service_account', 'session', 'audit_entry'] loop
    execute format('alter table %I drop constraint %I', t, t || '_pkey');
    execute format('alter table %I add primary key (organization_id, id)', t);
  end loop;
  foreach t in array array['custom_role', 'membership', 'project_membership', 'project', 'device', 'record',
                           'measurement', 'service_account', 'session'] loop
    execute format('alter table %I add foreign key (organization_id) references organization (id)', t);
  end loop;
end $$;

alter table change drop constraint change_pkey;
alter table change add primary key (organization_id, id);

alter table user_account add constraint user_account_email_index_key unique (email_index);
alter table membership add constraint membership_user_key unique (organization_id, user_id);
alter table custom_role add constraint custom_role_name_key unique (organization_id, name);
alter table membership
  add foreign key (user_id) references user_account (id),
  add foreign key (organization_id, custom_role_id) references custom_role (organization_id, id),
  add constraint membership_one_role check (custom_role_id is null or role = 'MEMBER');
alter table project add constraint project_code_key unique (organization_id, code);
alter table project_membership
  add constraint project_membership_key unique (organization_id, project_id, membership_id),
  add foreign key (organization_id, project_id) references project (organization_id, id),
  add foreign key (organization_id, membership_id) references membership (organization_id, id),
  add foreign key (organization_id, custom_role_id) references custom_role (organization_id, id),
  add constraint project_membership_one_role check ((role is null) <> (custom_role_id is null));
alter table service_account
  add foreign key (organization_id, created_by_id) references membership (organization_id, id),
  add foreign key (organization_id, revoked_by_id) references membership (organization_id, id);
alter table device
  add constraint device_serial_key unique (organization_id, serial_index),
  add foreign key (organization_id, membership_id) references membership (organization_id, id),
  add foreign key (organization_id, blocked_by_id) references membership (organization_id, id);
alter table record
  add constraint record_project_key unique (organization_id, project_id, id),
  add foreign key (organization_id, project_id) references project (organization_id, id),
  add foreign key (organization_id, device_id) references device (organization_id, id),
  add foreign key (organization_id, created_by_id) references membership (organization_id, id),
  add foreign key (organization_id, reviewed_by_id) references membership (organization_id, id);
alter table measurement
  add foreign key (organization_id, project_id, record_id)
    references record (organization_id, project_id, id) on delete cascade;
alter table session
  add foreign key (organization_id, membership_id) references membership (organization_id, id),
  add foreign key (organization_id, device_id) references device (organization_id, id);
alter table change
  add foreign key (organization_id, entry_id) references audit_entry (organization_id, id);

create index on membership (user_id);
create index on project_membership (organization_id, membership_id);
create index project_rewriting on project (organization_id) where locations_rewriting;
create index on membership (organization_id, custom_role_id) where custom_role_id is not null;
create index on project_membership (organization_id, custom_role_id) where custom_role_id is not null;
create index on device (organization_id, membership_id);
create index on service_account (organization_id, created_by_id);
create index on record (organization_id, project_id, collected_at, id);
create index on record (organization_id, collected_at, id);
create index on record (organization_id, project_id, created_at, id);
create index on record (organization_id, project_id, site_code, id);
create index on record (organization_id, collector_index);
create index on measurement (organization_id, record_id, position, id);
create index on session (organization_id, membership_id);
create unique index audit_entry_transaction on audit_entry (transaction_id, at) where kind = 'CHANGE';
create index on audit_entry (organization_id, at, id);
-- Nothing is found by the rows that entries name: an index on them would cost as much as the rest of an entry, and each
-- page that is read writes one. Ids don't compress.
alter table audit_entry alter column entity_ids set storage external;
create index on change (organization_id, entry_id);
create index on change (organization_id, entity, entity_id);

-- ------------------------------------------------------------------ row-level security: the second wall
do $$
declare t text;
begin
  foreach t in array array['custom_role', 'project_membership', 'project', 'device', 'record', 'measurement',
                           'service_account', 'session', 'audit_entry', 'change'] loop
    execute format('alter table %I enable row level security, force row level security', t);
    execute format('create policy tenant on %I using (organization_id = (select fieldward_organization()))
                    with check (organization_id = (select fieldward_organization()))', t);
  end loop;
end $$;

-- A person signing in sees their own memberships, to choose an organization; nothing else of any of them.
alter table membership enable row level security, force row level security;
create policy tenant on membership
  using (organization_id = (select fieldward_organization()) or user_id = (select fieldward_user()))
  with check (organization_id = (select fieldward_organization()));

alter table organization enable row level security, force row level security;
create policy tenant on organization
  using (id = (select fieldward_organization())
         or exists (select 1 from membership m where m.organization_id = organization.id
                                                 and m.user_id = (select fieldward_user())))
  with check (id = (select fieldward_organization()));

-- People lie outside the tenants: one sees oneself, whom one can name by address (to sign in), and one's colleagues.
alter table user_account enable row level security, force row level security;
create policy person on user_account
  using (id = (select fieldward_user())
         or email_index = (select fieldward_email_index())
         or exists (select 1 from membership m where m.organization_id = (select fieldward_organization())
                                                 and m.user_id = user_account.id))
  with check (id = (select fieldward_user())
         or exists (select 1 from membership m where m.organization_id = (select fieldward_organization())
                                                 and m.user_id = user_account.id));
-- Making an account shows nothing of another; whoever makes it does not see it until it belongs to their tenant.
create policy made on user_account for insert with check (true);

-- ------------------------------------------------------------------ the audit trail: forced facts, nothing taken back
create function fieldward_stamp_entry() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  new.at := case when new.kind = 'CHANGE' then transaction_timestamp() else clock_timestamp() end;
  new.transaction_id := pg_current_xact_id()::text::bigint;
  return new;
end $$;
create trigger stamp before insert on audit_entry for each row execute function fieldward_stamp_entry();
alter table audit_entry enable always trigger stamp;

create function fieldward_refuse() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  raise exception 'the table % takes no %', tg_table_name, tg_op using errcode = 'insufficient_privilege';
end $$;
do $$
declare t text;
begin
  foreach t in array array['audit_entry', 'change'] loop
    execute format('create trigger refuse before update or delete or truncate on %I
                    for each statement execute function fieldward_refuse()', t);
    execute format('alter table %I enable always trigger refuse', t);
  end loop;
  foreach t in array array['organization', 'user_account', 'custom_role', 'membership', 'project_membership', 'project',
                           'device', 'record', 'measurement', 'service_account', 'session'] loop
    execute format('create trigger refuse before truncate on %I
                    for each statement execute function fieldward_refuse()', t);
    execute format('alter table %I enable always trigger refuse', t);
  end loop;
end $$;

-- Which columns changed, as {column: [before, after]}. Of the columns named in `secret` it says only that they changed.
-- A row that came or went is told the same way below, where it takes less.
create function fieldward_difference(before jsonb, after jsonb, secret text[]) returns jsonb
  language sql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
  select coalesce(jsonb_object_agg(k.key,
           case when k.key = any (secret)
                then jsonb_build_array(case when coalesce(before -> k.key, 'null') <> 'null' then '"secret"'::jsonb end,
                                       case when coalesce(after -> k.key, 'null') <> 'null' then '"secret"'::jsonb end)
                else jsonb_build_array(before -> k.key, after -> k.key) end), '{}')
  from jsonb_object_keys(coalesce(after, before)) as k(key)
  where coalesce(before -> k.key, 'null') is distinct from coalesce(after -> k.key, 'null') $$;

-- A row in which digests stand for what lies in the columns named in `digested`: imprints of random tokens and of
-- passwords, which can be compared with the row for good and tell nobody more than they do.
create function fieldward_imprinted(line jsonb, digested text[]) returns jsonb
  language sql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
  select line || coalesce(jsonb_object_agg(d.name, 'sha256:' || encode(sha256(convert_to(line ->> d.name, 'UTF8')), 'hex')), '{}')
  from unnest(digested) as d(name)
  where line ->> d.name is not null $$;

-- Writes the changes of one statement, and refuses it in a transaction that has no audit entry *of that transaction*:
-- an entry is found by the transaction's own id and start, which nobody can choose, not by a setting, which anybody can.
-- Arguments: the column that names the tenant ('' for a table outside the tenants: the entry's tenant is taken), and
-- the SECRET columns of which nothing is told, comma-separated; the columns that say which project and whose membership
-- the row is about, so that whoever reads the change is asked in the row's own scope; the SECRET columns that are told
-- by a digest. Values are told in one form, whatever the session that changes them has set.
create function fieldward_record_change() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp set timezone = 'UTC' set bytea_output = 'hex'
  set extra_float_digits = 1 as $$
declare
  entry record;
  tenant text := tg_argv[0];
  secret text[] := string_to_array(tg_argv[1], ',');
  project text := nullif(tg_argv[2], '');
  own text := nullif(tg_argv[3], '');
  digested text[] := nullif(string_to_array(tg_argv[4], ','), '{}');
  strangers bigint;
begin
  select e.organization_id, e.id into entry from public.audit_entry e
   where e.transaction_id = pg_current_xact_id()::text::bigint and e.at = transaction_timestamp() and e.kind = 'CHANGE';
  if not found then
    raise exception 'a change of % needs an audit entry in its transaction', tg_table_name
      using errcode = 'insufficient_privilege';
  end if;
  if tg_op = 'INSERT' then
    with n as materialized (select case when digested is null then to_jsonb(r) else public.fieldward_imprinted(to_jsonb(r), digested) end as j
                               from new_rows r),
    written as (
      insert into public.change (organization_id, entry_id, operation, entity, entity_id, project_id, membership_id, columns)
      select entry.organization_id, entry.id, tg_op, tg_table_name, (n.j ->> 'id')::uuid, (n.j ->> project)::uuid,
             (n.j ->> own)::uuid,
             (select coalesce(jsonb_object_agg(k.key, jsonb_build_array(null,
                       case when k.key = any (secret) then '"secret"' else k.value end)), '{}')
                from jsonb_each(n.j) as k where k.value <> 'null')
        from n)
    select count(*) into strangers from n
     where tenant <> '' and (n.j ->> tenant)::uuid is distinct from entry.organization_id;
  elsif tg_op = 'DELETE' then
    with o as materialized (select case when digested is null then to_jsonb(r) else public.fieldward_imprinted(to_jsonb(r), digested) end as j
                               from old_rows r),
    written as (
      insert into public.change (organization_id, entry_id, operation, entity, entity_id, project_id, membership_id, columns)
      select entry.organization_id, entry.id, tg_op, tg_table_name, (o.j ->> 'id')::uuid, (o.j ->> project)::uuid,
             (o.j ->> own)::uuid,
             (select coalesce(jsonb_object_agg(k.key, jsonb_build_array(
                       case when k.key = any (secret) then '"secret"' else k.value end, null)), '{}')
                from jsonb_each(o.j) as k where k.value <> 'null')
        from o)
    select count(*) into strangers from o
     where tenant <> '' and (o.j ->> tenant)::uuid is distinct from entry.organization_id;
  else
    insert into public.change (organization_id, entry_id, operation, entity, entity_id, project_id, membership_id, columns)
    select entry.organization_id, entry.id, tg_op, tg_table_name, (n.j ->> 'id')::uuid, (n.j ->> project)::uuid,
           (n.j ->> own)::uuid, fieldward_difference(o.j, n.j, secret)
      from (select case when digested is null then to_jsonb(r) else public.fieldward_imprinted(to_jsonb(r), digested) end as j
              from old_rows r) o
      join (select case when digested is null then to_jsonb(r) else public.fieldward_imprinted(to_jsonb(r), digested) end as j
              from new_rows r) n on n.j -> 'id' = o.j -> 'id'
     where n.j is distinct from o.j;
    -- A row that changed its id, or its tenant, would have no counterpart: refused, whoever tries.
    select count(*) into strangers from (select to_jsonb(r) as j from new_rows r) n
     where not exists (select 1 from (select to_jsonb(r) as j from old_rows r) o
                        where o.j -> 'id' = n.j -> 'id'
                          and (tenant = '' or o.j -> tenant = n.j -> tenant))
        or (tenant <> '' and (n.j ->> tenant)::uuid is distinct from entry.organization_id);
  end if;
  if tenant = '' then
    -- An account lies outside the tenants; the entry must be one of a tenant that the person belongs to, so that a
    -- change of it stands where somebody reads it. A new account belongs to none yet.
    if tg_op = 'INSERT' then
      select count(*) into strangers from new_rows
       where not exists (select 1 from public.organization o where o.id = entry.organization_id);
    elsif tg_op = 'UPDATE' then
      select count(*) into strangers from new_rows r
       where not exists (select 1 from public.membership m
                          where m.organization_id = entry.organization_id and m.user_id = (to_jsonb(r) ->> 'id')::uuid);
    end if;
  end if;
  if strangers > 0 then
    raise exception 'a row of % left its tenant or its id, or lies in another tenant than the audit entry', tg_table_name
      using errcode = 'insufficient_privilege';
  end if;
  return null;
end $$;
revoke execute on function fieldward_record_change() from public;

do $$
declare t record;
begin
  for t in select * from (values
      ('organization', 'id', '', '', '', ''),
      ('user_account', '', 'email_index', '', '', 'password_hash'),
      ('custom_role', 'organization_id', 'creation_digest', '', '', ''),
      ('membership', 'organization_id', '', '', 'id', ''),
      ('project_membership', 'organization_id', '', 'project_id', 'membership_id', ''),
      ('project', 'organization_id', 'creation_digest', 'id', '', ''),
      ('device', 'organization_id', 'creation_digest,serial_index', '', 'membership_id', ''),
      ('record', 'organization_id', 'collector_index,collector_pseudonym,creation_digest', 'project_id', '', ''),
      ('measurement', 'organization_id', '', 'project_id', '', ''),
      ('service_account', 'organization_id', '', '', '', 'token_digest'),
      ('session', 'organization_id', '', '', 'membership_id', 'refresh_digest,spent_digest'))
    as v(name, tenant, secret, project, own, digested) loop
    execute format('create trigger change_insert after insert on %I referencing new table as new_rows
                    for each statement execute function fieldward_record_change(%L, %L, %L, %L, %L)',
                   t.name, t.tenant, t.secret, t.project, t.own, t.digested);
    execute format('create trigger change_update after update on %I referencing old table as old_rows new table as new_rows
                    for each statement execute function fieldward_record_change(%L, %L, %L, %L, %L)',
                   t.name, t.tenant, t.secret, t.project, t.own, t.digested);
    execute format('create trigger change_delete after delete on %I referencing old table as old_rows
                    for each statement execute function fieldward_record_change(%L, %L, %L, %L, %L)',
                   t.name, t.tenant, t.secret, t.project, t.own, t.digested);
    execute format('alter table %I enable always trigger change_insert, enable always trigger change_update,
                    enable always trigger change_delete', t.name);
  end loop;
end $$;

-- ------------------------------------------------------------------ the service's role: it owns nothing
do $$ begin
  if not exists (select 1 from pg_roles where rolname = 'fieldward_service') then
    create role fieldward_service nologin;
  end if;
end $$;
grant usage on schema public to fieldward_service;
grant execute on function fieldward_organization(), fieldward_user(), fieldward_email_index() to fieldward_service;
grant select, insert, update on organization, user_account, membership, project, device, service_account, session to fieldward_service;
grant select, insert, update, delete on record, measurement, project_membership, custom_role to fieldward_service;
grant select, insert on audit_entry to fieldward_service;
grant select on change to fieldward_service;
