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
  add constraint session_one_token check ((refresh_digest is null) <> (cookie_digest is null)),
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
-- Nor does ciphertext, and what is long of a row, and of what a change tells, is that: trying costs as much as all else.
alter table change alter column columns set storage external;
do $$
declare c record;
begin
  for c in select a.attrelid::regclass as owner, a.attname from pg_attribute a
            where a.attrelid in ('record'::regclass, 'measurement'::regclass) and a.atttypid = 'bytea'::regtype loop
    execute format('alter table %s alter column %I set storage external', c.owner, c.attname);
  end loop;
end $$;
create index on change (organization_id, entry_id);
create index on change (organization_id, entity, entity_id);
create index on change (organization_id, part_of_id) where part_of_id is not null;

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

-- Has a table audited: makes the function that writes its changes, and the triggers that call it.
--
-- The function tells the changes of one statement, a row of `change` for each changed row, with the columns that differ as
-- {column: [before, after]}; what is null on both sides is left out. Of the columns named in `secret` it says only that
-- they changed; of those in `digested`, imprints of random tokens and of passwords, it tells a digest, which can be
-- compared with the row for good and tells nobody more than they do. It refuses the statement in a transaction that has no
-- audit entry *of that transaction*: an entry is found by the transaction's own id and start, which nobody can choose, not
-- by a setting, which anybody can. Values are told in one form, whatever the session that changes them has set.
--
-- tenant: the column that names the tenant; null for a table outside the tenants: the entry's tenant is taken.
-- project, own: the columns that say which project and whose membership the row is about, so that whoever reads the change
-- is asked in the row's own scope; or null.
-- whole: the column that names the row that it is part of, by which the history of that row is found; or null.
--
-- Its columns are written out, since taking a row apart as JSON costs as much as the rest of a small change, and put into
-- one object at once, since gathering them from rows costs as much again. A table whose
-- columns are others by now is refused, by the `union all` that nothing comes of, until it is audited anew by this.
create function fieldward_audit(name text, tenant text, secret text[], digested text[], project text, own text, whole text)
  returns void
  language plpgsql set search_path = pg_catalog, pg_temp as $make$
declare
  called text := 'fieldward_change_of_' || name;
  columns text;
  came text;
  went text;
  became text;
  lost text;
  stranger text := case when tenant is null then 'false' else format('r.%I is distinct from tenant', tenant) end;
  strange_insert text := stranger;
  strange_update text;
  operation text;
  -- Types whose values, and whose arrays', have no fields.
  flat constant regtype[] := '{uuid,bytea,text,varchar,boolean,smallint,integer,bigint,real,double precision,numeric,date,
                               timestamptz}';
begin
  -- Fifty columns at once: a function of PostgreSQL takes no more arguments than a hundred.
  select string_agg(p.came, E' ||\n          ' order by p.part), string_agg(p.went, E' ||\n          ' order by p.part),
         string_agg(p.became, E' ||\n          ' order by p.part)
    into came, went, became
    from (select c.part,
                 format(c.form, string_agg(format('%L, %s', c.name, c.came), E',\n            ' order by c.place)) as came,
                 format(c.form, string_agg(format('%L, %s', c.name, c.went), E',\n            ' order by c.place)) as went,
                 format(c.form, string_agg(format('%L, %s', c.name, c.became), E',\n            ' order by c.place)) as became
            from (select a.attname as name, a.attnum as place, n.part, n.form,
                         format('case when r.%I is not null then jsonb_build_array(null, %s) end',
                                a.attname, t.after) as came,
                         format('case when r.%I is not null then jsonb_build_array(%s, null) end',
                                a.attname, t.after) as went,
                         format('case when o.%I is distinct from r.%I then jsonb_build_array(%s, %s) end',
                                a.attname, a.attname, t.before, t.after) as became
                    from pg_attribute a join pg_type y on y.oid = a.atttypid,
                         lateral (select case
                           when a.attname = any (secret) then $$case when %1$s.%2$I is not null then 'secret' end$$
                           when a.attname = any (digested)
                             then $$'sha256:' || encode(sha256(convert_to(%1$s.%2$I::text, 'UTF8')), 'hex')$$
                           else '%1$s.%2$I' end as form) f,
                         lateral (select format(f.form, 'o', a.attname) as before,
                                         format(f.form, 'r', a.attname) as after) t,
                         -- What did not change is null, and left out. Where a value may have fields of its own, their
                         -- nulls stay: that column is told by itself.
                         lateral (select case when is_flat then (a.attnum - 1) / 50 else 10000 + a.attnum end as part,
                                         case when is_flat then 'jsonb_strip_nulls(jsonb_build_object(%s))'
                                              else '(select coalesce(jsonb_object_agg(c.name, c.told)
                                                       filter (where c.told is not null), ''{}'')
                                                       from (values (%s)) as c(name, told))' end as form
                                    from (select coalesce(nullif(y.typelem, 0), y.oid) = any (flat) as is_flat) i) n
                   where a.attrelid = format('public.%I', name)::regclass and a.attnum > 0 and not a.attisdropped) c
           group by c.part, c.form) p;
  select string_agg(format('r.%I', a.attname), ', ' order by a.attnum) into columns from pg_attribute a
   where a.attrelid = format('public.%I', name)::regclass and a.attnum > 0 and not a.attisdropped;
  -- A row that changed its id, or its tenant, would have no counterpart, and one that went over to another whole would be
  -- missing in the history of the one before: refused, whoever tries.
  lost := 'not exists (select from old_rows o where o.id = r.id'
          || case when tenant is null then '' else format(' and o.%I = r.%I', tenant, tenant) end
          || case when whole is null then ')' else format(' and o.%I = r.%I)', whole, whole) end;
  strange_update := format('%s or %s', stranger, lost);
  if tenant is null then
    -- An account lies outside the tenants; the entry must be one of a tenant that the person belongs to, so that a
    -- change of it stands where somebody reads it. A new account belongs to none yet.
    strange_insert := 'not exists (select from public.organization t where t.id = tenant)';
    strange_update := lost
      || ' or not exists (select from public.membership m where m.organization_id = tenant and m.user_id = r.id)';
  end if;
  execute format($text$
    create or replace function public.%1$I() returns trigger language plpgsql security definer
      set search_path = pg_catalog, pg_temp set timezone = 'UTC' set bytea_output = 'hex' set extra_float_digits = 1
      as $body$
    declare
      tenant uuid;
      entry uuid;
      is_strange boolean := false;
    begin
      select e.organization_id, e.id into tenant, entry from public.audit_entry e
       where e.transaction_id = pg_current_xact_id()::text::bigint and e.at = transaction_timestamp()
         and e.kind = 'CHANGE';
      if not found then
        raise exception 'a change of %% needs an audit entry in its transaction', tg_table_name
          using errcode = 'insufficient_privilege';
      end if;
      if tg_op = 'INSERT' then
        insert into public.change
               (organization_id, entry_id, operation, entity, entity_id, project_id, membership_id,
                part_of_id, columns)
        select tenant, entry, tg_op, %2$L, r.id, %3$s, %4$s, %12$s,
               %5$s
          from (select * from new_rows union all select %8$s from new_rows r where false) r;
        is_strange := exists (select from new_rows r where %9$s);
      elsif tg_op = 'DELETE' then
        insert into public.change
               (organization_id, entry_id, operation, entity, entity_id, project_id, membership_id,
                part_of_id, columns)
        select tenant, entry, tg_op, %2$L, r.id, %3$s, %4$s, %12$s,
               %6$s
          from (select * from old_rows union all select %8$s from old_rows r where false) r;
        is_strange := exists (select from old_rows r where %11$s);
      else
        insert into public.change
               (organization_id, entry_id, operation, entity, entity_id, project_id, membership_id,
                part_of_id, columns)
        select tenant, entry, tg_op, %2$L, r.id, %3$s, %4$s, %12$s,
               %7$s
          from (select * from new_rows union all select %8$s from new_rows r where false) r
          join old_rows o on o.id = r.id
         where row(o.*) is distinct from row(r.*);
        is_strange := exists (select from new_rows r where %10$s);
      end if;
      if is_strange then
        raise exception 'a row of %% left its tenant, its id or its whole, or lies in another tenant than the audit entry',
          tg_table_name using errcode = 'insufficient_privilege';
      end if;
      return null;
    end $body$ $text$,
    called, name, case when project is null then 'null::uuid' else format('r.%I', project) end,
    case when own is null then 'null::uuid' else format('r.%I', own) end,
    came, went, became, columns, strange_insert, strange_update, stranger,
    case when whole is null then 'null::uuid' else format('r.%I', whole) end);
  execute format('revoke execute on function public.%I() from public', called);
  foreach operation in array array['insert', 'update', 'delete'] loop
    -- The arguments say what the function was made from.
    execute format('create or replace trigger change_%1$s after %1$s on public.%2$I referencing %3$s for each statement
                    execute function public.%4$I(%5$L, %6$L, %7$L, %8$L, %9$L, %10$L)',
                   operation, name,
                   concat_ws(' ', case when operation <> 'insert' then 'old table as old_rows' end,
                                  case when operation <> 'delete' then 'new table as new_rows' end),
                   called, coalesce(tenant, ''), array_to_string(secret, ','), coalesce(project, ''), coalesce(own, ''),
                   array_to_string(digested, ','), coalesce(whole, ''));
    execute format('alter table public.%I enable always trigger change_%s', name, operation);
  end loop;
end $make$;
revoke execute on function fieldward_audit(text, text, text[], text[], text, text, text) from public;

select fieldward_audit(t.name, t.tenant, t.secret, t.digested, t.project, t.own, t.whole) from (values
    ('organization', 'id', array[]::text[], array[]::text[], null, null, null),
    ('user_account', null, '{email_index}', '{password_hash}', null, null, null),
    ('custom_role', 'organization_id', '{creation_digest}', '{}', null, null, null),
    ('membership', 'organization_id', '{}', '{}', null, 'id', null),
    ('project_membership', 'organization_id', '{}', '{}', 'project_id', 'membership_id', null),
    ('project', 'organization_id', '{creation_digest}', '{}', 'id', null, null),
    ('device', 'organization_id', '{creation_digest,serial_index}', '{}', null, 'membership_id', null),
    ('record', 'organization_id', '{collector_index,collector_pseudonym,creation_digest}', '{}', 'project_id', null, null),
    ('measurement', 'organization_id', '{}', '{}', 'project_id', null, 'record_id'),
    ('service_account', 'organization_id', '{}', '{}', null, null, null),
    ('session', 'organization_id', '{}', '{refresh_digest,spent_digest,cookie_digest}', null, 'membership_id', null))
  as t(name, tenant, secret, digested, project, own, whole);

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
