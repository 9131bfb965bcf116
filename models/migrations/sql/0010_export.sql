-- Exports: walled like every table of a tenant. What was asked for and what became of it is in the trail; how far it is,
-- and the pieces of the file, are not.

do $$
declare t text;
begin
  foreach t in array array['data_export', 'data_export_progress', 'data_export_piece'] loop
    execute format('alter table %I drop constraint %I', t, t || '_pkey');
    execute format('alter table %I add primary key (organization_id, id)', t);
    execute format('alter table %I add foreign key (organization_id) references organization (id)', t);
    execute format('alter table %I enable row level security, force row level security', t);
    execute format('create policy tenant on %I using (organization_id = (select fieldward_organization()))
                    with check (organization_id = (select fieldward_organization()))', t);
    execute format('create trigger refuse before truncate on %I
                    for each statement execute function fieldward_refuse()', t);
    execute format('alter table %I enable always trigger refuse', t);
  end loop;
end $$;

alter table data_export
  add foreign key (organization_id, created_by_id) references membership (organization_id, id),
  add foreign key (organization_id, service_account_id) references service_account (organization_id, id),
  add foreign key (organization_id, token_id) references service_account_token (organization_id, id),
  add foreign key (organization_id, device_id) references device (organization_id, id),
  add constraint data_export_asked check (num_nonnulls(created_by_id, service_account_id) = 1),
  add constraint data_export_ready check (status <> 'READY' or num_nulls(size, sha256, manifest, expires_at) = 0);
alter table data_export_progress
  add foreign key (organization_id, id) references data_export (organization_id, id),
  add foreign key (organization_id, created_by_id) references membership (organization_id, id);
alter table data_export_piece
  add foreign key (organization_id, export_id) references data_export_progress (organization_id, id),
  add constraint data_export_piece_key unique (organization_id, export_id, position);
-- What is sealed looks random: looking for something to compress costs time and finds nothing.
alter table data_export_piece alter column content set storage external;

create index on data_export (organization_id, created_at, id);
create index on data_export (organization_id, created_by_id, created_at);
create index data_export_unswept on data_export_progress (organization_id) where swept_at is null;

select fieldward_audit('data_export', 'organization_id', '{request,creation_digest}', '{link_digest}', null,
                       'created_by_id', null);

grant select, insert, update on data_export, data_export_progress to fieldward_service;
grant select, insert, delete on data_export_piece to fieldward_service;

-- ------------------------------------------------------------------ what there is to do, in which organizations
-- The owner sees all tenants inside of this function and nowhere else, as in `fieldward_mailing`.
do $$
declare t text;
begin
  foreach t in array array['data_export', 'data_export_progress'] loop
    execute format('create policy tending on %I to %I
                    using (current_setting(''fieldward.tending'', true) = ''on'')', t, current_user);
  end loop;
end $$;

-- The organizations with exports that nobody makes, that are over, or of whose file something is left.
create function fieldward_exporting() returns setof uuid language plpgsql security definer
  set search_path = pg_catalog, pg_temp as $$
begin
  perform set_config('fieldward.tending', 'on', true);
  return query
    select distinct p.organization_id
      from public.data_export_progress p
      join public.data_export e on e.organization_id = p.organization_id and e.id = p.id
     where p.swept_at is null
       and case e.status
             when 'PENDING' then p.claimed_until is null or p.claimed_until < clock_timestamp()
             when 'READY' then e.expires_at < clock_timestamp()
             else true
           end;
  perform set_config('fieldward.tending', '', true);
end $$;
revoke execute on function fieldward_exporting() from public;
grant execute on function fieldward_exporting() to fieldward_service;
