-- How long data are kept, and what keeps them longer: walled like every table of a tenant. What was decided, and every
-- hold, is in the trail; how far a run is, is not.

do $$
declare t text;
begin
  foreach t in array array['data_retention', 'retention_run', 'legal_hold'] loop
    execute format('alter table %I drop constraint %I', t, t || '_pkey');
    execute format('alter table %I add primary key (organization_id, id)', t);
    execute format('alter table %I add foreign key (organization_id) references organization (id)', t);
    execute format('alter table %I enable row level security, force row level security', t);
    execute format('create policy tenant on %I using (organization_id = (select fieldward_organization()))
                    with check (organization_id = (select fieldward_organization()))', t);
  end loop;
  foreach t in array array['data_retention', 'legal_hold'] loop
    execute format('create trigger refuse before truncate on %I
                    for each statement execute function fieldward_refuse()', t);
    execute format('alter table %I enable always trigger refuse', t);
    perform fieldward_audit(t, 'organization_id', '{}', '{}', null, null, null);
  end loop;
end $$;
create trigger refuse before delete or truncate on retention_run for each statement execute function fieldward_refuse();
alter table retention_run enable always trigger refuse;

alter table data_retention
  add constraint data_retention_kind_key unique (organization_id, kind),
  add constraint data_retention_days check (
    days between case when kind in ('SESSION', 'DEVICE', 'MEMBERSHIP', 'EXPORT') then 90 else 30 end and 36500);
alter table legal_hold
  add foreign key (organization_id, project_id) references project (organization_id, id),
  add foreign key (organization_id, placed_by_id) references membership (organization_id, id),
  add foreign key (organization_id, lifted_by_id) references membership (organization_id, id),
  add constraint legal_hold_lifted check (num_nulls(lifted_at, lifted_by_id, lift_reason) in (0, 3));
create index legal_hold_open on legal_hold (organization_id) where lifted_at is null;
create index on legal_hold (organization_id, created_at, id);
create index on retention_run (organization_id, created_at, id);
-- One run of a type at a time.
create unique index retention_run_open on retention_run (organization_id, kind) where status = 'RUNNING';
create index project_emptying on project (organization_id) where fields_emptying;

-- The columns of these are others by now.
select fieldward_audit('project', 'organization_id', '{creation_digest}', '{}', 'id', null, null);
select fieldward_audit('data_import', 'organization_id', '{}', '{}', 'project_id', null, null);

grant select, insert, update on data_retention, retention_run, legal_hold to fieldward_service;
grant delete on session, device, membership, invitation, data_import, data_export, data_export_progress
  to fieldward_service;

-- ------------------------------------------------------------------ what is over
-- Before when data of a type must be from to be deleted; null where they stay. Nothing of the type is deleted in the
-- week after its period was decided: when that was, the trail says, and nobody who writes a row.
create function fieldward_retention_cutoff(organization uuid, data_kind text) returns timestamptz language sql stable
  set search_path = pg_catalog, pg_temp as $$
  select transaction_timestamp() - make_interval(hours => r.days * 24)
    from public.data_retention r
   where r.organization_id = organization and r.kind = data_kind and r.days is not null
     and (select max(e.at)
            from public.change c
            join public.audit_entry e on e.organization_id = c.organization_id and e.id = c.entry_id
           where c.organization_id = organization and c.entity = 'data_retention' and c.entity_id = r.id)
         < transaction_timestamp() - interval '168 hours' $$;

-- ------------------------------------------------------------------ what a hold keeps
-- Whether a hold keeps a row: of a project, at a site's code, the record or the site itself, or of one of these people.
create function fieldward_held(organization uuid, record_id uuid, site_id uuid, project uuid, site text, people uuid[])
  returns boolean language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (
    select from public.legal_hold h
     where h.organization_id = organization and h.lifted_at is null
       and case h.subject_kind
             when 'ORGANIZATION' then true
             when 'PROJECT' then h.subject = project
             when 'RECORD' then h.subject = record_id
                                or (site_id is not null and h.project_id = project and h.site_code = site)
             when 'SITE' then h.subject = site_id
                              or (h.project_id = project
                                  and (h.site_code = site
                                       or site = (select s.code from public.site s
                                                   where s.organization_id = organization and s.id = h.subject)))
             when 'PERSON' then h.subject = any (people)
             else false
           end) $$;

-- What is held is not deleted, whoever tries: each table has a function of its own, since rows of a statement have no
-- type. Whoever places a hold waits for those who are deleting, and those who delete wait for it and see it.
-- Of some tables rows are deleted by a run of the periods alone, and by nothing else that the service does.
do $make$
declare
  t record;
begin
  for t in select * from (values
      ('record', 'r.id, null, r.project_id, r.site_code, array_append(r.contributor_ids, r.created_by_id)', false),
      ('site', 'null, r.id, r.project_id, r.code, null', false),
      ('session', 'null, null, null, null, array[r.membership_id]', true),
      ('device', 'null, null, null, null, array[r.membership_id]', true),
      ('membership', 'null, null, null, null, array[r.id]', true),
      ('invitation', 'null, null, r.project_id, null, array[r.membership_id, r.invited_by_id]', true),
      ('data_import', 'null, null, r.project_id, null, array[r.created_by_id, r.started_by_id]', true),
      ('data_export', 'null, null, null, null, array[r.created_by_id]', true)) as t(name, arguments, by_run_alone)
  loop
    execute format($text$
      create function public.%1$I() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $body$
      begin
        perform pg_advisory_xact_lock_shared(4614532, hashtext(o.organization_id::text))
           from (select distinct r.organization_id from old_rows r) o;
        if exists (select from old_rows r where public.fieldward_held(r.organization_id, %2$s)) then
          raise exception 'a legal hold keeps a row of %%', tg_table_name using errcode = 'insufficient_privilege';
        end if;
        if %3$L and exists (select from old_rows) and not exists (
             select from public.audit_entry e
              where e.transaction_id = pg_current_xact_id()::text::bigint and e.at = transaction_timestamp()
                and e.kind = 'CHANGE' and e.action = 'retention.run') then
          raise exception 'rows of %% are deleted after their period alone', tg_table_name
            using errcode = 'insufficient_privilege';
        end if;
        return null;
      end $body$ $text$, 'fieldward_keep_held_' || t.name, t.arguments, t.by_run_alone);
    execute format('revoke execute on function public.%I() from public', 'fieldward_keep_held_' || t.name);
    execute format('create trigger keep_held after delete on public.%I referencing old table as old_rows
                    for each statement execute function public.%I()', t.name, 'fieldward_keep_held_' || t.name);
    execute format('alter table public.%I enable always trigger keep_held', t.name);
  end loop;
end $make$;

revoke execute on function fieldward_retention_cutoff(uuid, text),
  fieldward_held(uuid, uuid, uuid, uuid, text, uuid[]) from public;
grant execute on function fieldward_retention_cutoff(uuid, text),
  fieldward_held(uuid, uuid, uuid, uuid, text, uuid[]) to fieldward_service;

-- ------------------------------------------------------------------ what a hold keeps in the trail
-- While anything is held, nothing leaves the organization's trail: its entries tell of many rows, and who saw and did
-- what may be the very thing that has to be shown.
create or replace function fieldward_trail_cutoff(organization uuid, entry_kind text) returns timestamptz
  language sql stable set search_path = pg_catalog, pg_temp as $$
  select transaction_timestamp() - make_interval(hours => greatest(r.days, 90) * 24)
    from public.trail_retention r
   where r.organization_id = organization and r.kind = entry_kind and r.days is not null
     and not exists (select from public.legal_hold h where h.organization_id = organization and h.lifted_at is null)
     and (select max(e.at)
            from public.change c
            join public.audit_entry e on e.organization_id = c.organization_id and e.id = c.entry_id
           where c.organization_id = organization and c.entity = 'trail_retention' and c.entity_id = r.id)
         < transaction_timestamp() - interval '168 hours' $$;

create or replace function fieldward_expire() returns bigint language plpgsql security definer
  set search_path = pg_catalog, pg_temp as $$
declare
  act record;
  left_now bigint;
begin
  select * into act from public.fieldward_expiring();
  if act.id is null or act.entity_ids = '{}' then
    raise exception 'nothing leaves the trail without an entry that names it' using errcode = 'insufficient_privilege';
  end if;
  -- Whoever places a hold waits for this to end, or this for them: what is asked of the cutoff below sees it.
  perform pg_advisory_xact_lock_shared(4614532, hashtext(act.organization_id::text));
  -- In the order of their numbers: of two who let go of the same, one waits.
  perform from public.sealed_leaf l
    where l.organization_id = act.organization_id and l.id = any (act.entity_ids)
    order by l.leaf_index for update;
  update public.sealed_leaf l set expired_by = act.id
   where l.organization_id = act.organization_id and l.id = any (act.entity_ids) and l.expired_by is null;
  get diagnostics left_now = row_count;
  if left_now is distinct from cardinality(act.entity_ids) then
    raise exception 'an entry that is to leave the trail is not sealed, or has left' using errcode = 'insufficient_privilege';
  end if;
  delete from public.change c where c.organization_id = act.organization_id and c.entry_id = any (act.entity_ids);
  delete from public.audit_entry e where e.organization_id = act.organization_id and e.id = any (act.entity_ids);
  return left_now;
end $$;
