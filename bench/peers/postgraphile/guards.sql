-- PostGraphile's side of what Fieldward does: a role with column grants, row-level security by organization, an audit
-- trigger. `bench_web` signs in and becomes `app_viewer` for each request.
create role app_viewer nologin;
grant app_viewer to bench_web;
grant usage on schema public to app_viewer;
grant select on organization, project, measurement to app_viewer;
grant select (id, organization_id, platform, model) on device to app_viewer;
grant select (id, organization_id, project_id, device_id, site_code, site_name, latitude, longitude, collected_at,
  medium, activity_type, method, status, comment, version) on record to app_viewer;
grant insert (organization_id, project_id, device_id, site_code, site_name, latitude, longitude, collected_at, medium,
  activity_type, method, comment) on record to app_viewer;

create function viewer_organization() returns uuid language sql stable parallel safe as
  $$ select nullif(current_setting('app.organization_id', true), '')::uuid $$;
do $$
declare t text;
begin
  foreach t in array array['project', 'device', 'record', 'measurement'] loop
    execute format('alter table %I enable row level security', t);
    execute format('create policy tenant on %I to app_viewer
                    using (organization_id = (select viewer_organization()))
                    with check (organization_id = (select viewer_organization()))', t);
  end loop;
end $$;
alter table organization enable row level security;
create policy tenant on organization to app_viewer using (id = (select viewer_organization()));

-- Acts for that role alone: `limit` and `plain`, who own the tables, write their own entries.
create function audit_record() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
begin
  insert into audit_entry (organization_id, actor, action, object_type, object_id, change)
  values (new.organization_id, current_setting('app.user', true), tg_op, 'record', new.id, to_jsonb(new));
  return null;
end $$;
create trigger audit after insert on record for each row
  when (nullif(current_setting('app.user', true), '') is not null) execute function audit_record();
