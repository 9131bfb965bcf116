-- Keys by which clients repeat requests: walled as every table of a tenant.

alter table idempotency_key drop constraint idempotency_key_pkey;
alter table idempotency_key
  add primary key (organization_id, id),
  add foreign key (organization_id) references organization (id);
create index on idempotency_key (created_at);

alter table idempotency_key enable row level security, force row level security;
create policy tenant on idempotency_key using (organization_id = (select fieldward_organization()))
  with check (organization_id = (select fieldward_organization()));

create trigger refuse before truncate on idempotency_key for each statement execute function fieldward_refuse();
alter table idempotency_key enable always trigger refuse;

grant select, insert, update on idempotency_key to fieldward_service;

-- The owner sees all inside of the function and nowhere else.
do $$
begin
  execute format('create policy tending on idempotency_key to %I
                  using (current_setting(''fieldward.tending'', true) = ''on'')', current_user);
end $$;

-- Forgets, of all organizations, keys that were used first a day ago. Returns how many.
create function fieldward_forget_keys() returns bigint language plpgsql security definer
  set search_path = pg_catalog, pg_temp as $$
declare keys bigint;
begin
  perform set_config('fieldward.tending', 'on', true);
  delete from public.idempotency_key k where k.created_at < clock_timestamp() - interval '1 day';
  get diagnostics keys = row_count;
  perform set_config('fieldward.tending', '', true);
  return keys;
end $$;
revoke execute on function fieldward_forget_keys() from public;
grant execute on function fieldward_forget_keys() to fieldward_service;
