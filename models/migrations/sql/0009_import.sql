-- Imports: walled like every table of a tenant. What was imported by whom is in the trail; the bytes of the file are not,
-- nor what became of each of its rows, which the records themselves tell.

do $$
declare t text;
begin
  foreach t in array array['data_import', 'import_mapping', 'import_chunk', 'import_block'] loop
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

alter table data_import
  add foreign key (organization_id, project_id) references project (organization_id, id),
  add foreign key (organization_id, created_by_id) references membership (organization_id, id),
  add foreign key (organization_id, started_by_id) references membership (organization_id, id),
  add foreign key (organization_id, started_by_program_id) references service_account (organization_id, id),
  add foreign key (organization_id, started_on_id) references device (organization_id, id),
  add constraint data_import_mapped check ((kind = 'CSV') = (mapping is not null)),
  add constraint data_import_started check ((run = 0) = (num_nonnulls(started_by_id, started_by_program_id) = 0));
alter table import_mapping
  add constraint import_mapping_name_key unique (organization_id, project_id, name),
  add foreign key (organization_id, project_id) references project (organization_id, id),
  add foreign key (organization_id, created_by_id) references membership (organization_id, id);
alter table import_chunk
  add constraint import_chunk_key unique (organization_id, import_id, start),
  add foreign key (organization_id, import_id) references data_import (organization_id, id);
alter table import_block
  add constraint import_block_key unique (organization_id, import_id, run, position),
  add foreign key (organization_id, import_id) references data_import (organization_id, id);

-- What was compressed and sealed is not compressed again.
alter table import_chunk alter column content set storage external;

create index on data_import (organization_id, created_at, id);
create index data_import_running on data_import (organization_id) where status = 'RUNNING';
create index data_import_kept on data_import (created_at) where status in ('OPEN', 'UPLOADED', 'CHECKED', 'FAILED');

select fieldward_audit('data_import', 'organization_id', '{}', '{}', 'project_id', null, null);
select fieldward_audit('import_mapping', 'organization_id', '{}', '{}', 'project_id', null, null);

-- ------------------------------------------------------------------ what there is to do, in which organizations
-- The owner sees all inside of this function and nowhere else.
create policy tending on data_import to current_user using (current_setting('fieldward.tending', true) = 'on');

-- The organizations with imports that run, and those with files that nobody has touched for so long.
create function fieldward_importing(untouched interval) returns table (organization_id uuid, is_running boolean)
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform set_config('fieldward.tending', 'on', true);
  return query
    select distinct i.organization_id, i.status = 'RUNNING'
      from public.data_import i
     where i.status = 'RUNNING'
        or (i.status in ('OPEN', 'UPLOADED', 'CHECKED', 'FAILED')
            and greatest(i.created_at, i.started_at, i.ended_at) < clock_timestamp() - untouched);
  perform set_config('fieldward.tending', '', true);
end $$;
revoke execute on function fieldward_importing(interval) from public;
grant execute on function fieldward_importing(interval) to fieldward_service;

-- Where many rows come at once, what is known of the tables is soon of another time, and a plan that was good for a few
-- rows reads all of them: so does the look-up of a foreign key, whose plan is kept. Only their owner may look anew.
create function fieldward_analyze_records() returns void language plpgsql security definer
  set search_path = pg_catalog, pg_temp as $$
begin
  analyze public.record, public.measurement;
end $$;
revoke execute on function fieldward_analyze_records() from public;
grant execute on function fieldward_analyze_records() to fieldward_service;

grant select, insert, update on data_import to fieldward_service;
grant select, insert, update, delete on import_mapping, import_chunk to fieldward_service;
grant select, insert, delete on import_block to fieldward_service;
