-- Incidents and alarms: walled like every table of a tenant. What people answer and what the rules find is in the trail;
-- the cursor and the deliveries are not, or each look at the trail would add to it.

do $$
declare t text;
begin
  foreach t in array array['incident', 'incident_evidence', 'incident_cursor', 'alarm_delivery'] loop
    execute format('alter table %I drop constraint %I', t, t || '_pkey');
    execute format('alter table %I add primary key (organization_id, id)', t);
    execute format('alter table %I enable row level security, force row level security', t);
    execute format('create policy tenant on %I using (organization_id = (select fieldward_organization()))
                    with check (organization_id = (select fieldward_organization()))', t);
  end loop;
  foreach t in array array['incident', 'incident_evidence'] loop
    execute format('create trigger refuse before truncate on %I
                    for each statement execute function fieldward_refuse()', t);
    execute format('alter table %I enable always trigger refuse', t);
    perform fieldward_audit(t, 'organization_id', '{}', '{}', null, null, null);
  end loop;
  foreach t in array array['incident_cursor', 'alarm_delivery'] loop
    execute format('create trigger refuse before delete or truncate on %I
                    for each statement execute function fieldward_refuse()', t);
    execute format('alter table %I enable always trigger refuse', t);
  end loop;
end $$;

-- Evidence is named by its leaf, which stays when the trail lets go of an entry. There is no key to the organization:
-- what belongs to none lies under the nil UUID, as its entries do.
alter table incident
  add foreign key (organization_id, membership_id) references membership (organization_id, id),
  add foreign key (organization_id, device_id) references device (organization_id, id),
  add foreign key (organization_id, service_account_id) references service_account (organization_id, id),
  add foreign key (organization_id, newest_entry_id) references sealed_leaf (organization_id, id),
  add foreign key (organization_id, acknowledged_by_id) references membership (organization_id, id),
  add foreign key (organization_id, closed_by_id) references membership (organization_id, id),
  add constraint incident_closed check ((status = 'CLOSED') = (closed_at is not null));
alter table incident_evidence
  add constraint incident_evidence_key unique (organization_id, incident_id, entry_id),
  add foreign key (organization_id, incident_id) references incident (organization_id, id),
  add foreign key (organization_id, entry_id) references sealed_leaf (organization_id, id);
alter table incident_cursor add constraint incident_cursor_key unique (organization_id);
alter table alarm_delivery
  add constraint alarm_delivery_key unique (organization_id, incident_id, channel),
  add foreign key (organization_id, incident_id) references incident (organization_id, id);

-- What the same rule finds about the same goes into the incident that is not closed: there is one at the most.
create unique index incident_open on incident (organization_id, rule, key) where status <> 'CLOSED';
create index on incident (organization_id, opened_at, id);
create index on incident (organization_id, rule, key, opened_at);
create index alarm_delivery_due on alarm_delivery (next_attempt_at) where state = 'PENDING';
-- The rules look back over what was refused or failed, of which there is little beside what was read.
create index audit_entry_attempts on audit_entry (organization_id, at) where kind = 'ATTEMPT';

-- ------------------------------------------------------------------ what there is to do, in which organizations
-- The owner sees all tenants inside of these functions and nowhere else, as in `fieldward_unsealed`.
do $$
declare t text;
begin
  foreach t in array array['organization', 'audit_entry', 'sealed_leaf', 'sealed_batch', 'incident', 'incident_cursor',
                           'alarm_delivery'] loop
    execute format('create policy judging on %I for select to %I
                    using (current_setting(''fieldward.judging'', true) = ''on'')', t, current_user);
  end loop;
end $$;

-- Every organization, and the nil UUID for what belongs to none.
create function fieldward_judged() returns setof uuid language plpgsql security definer
  set search_path = pg_catalog, pg_temp as $$
begin
  perform set_config('fieldward.judging', 'on', true);
  return query select o.id from public.organization o union all select '00000000-0000-0000-0000-000000000000'::uuid;
  perform set_config('fieldward.judging', '', true);
end $$;

-- Those of which more is sealed than was judged.
create function fieldward_unjudged() returns setof uuid language plpgsql security definer
  set search_path = pg_catalog, pg_temp as $$
begin
  perform set_config('fieldward.judging', 'on', true);
  return query
    select o.id
      from (select id from public.organization union all select '00000000-0000-0000-0000-000000000000'::uuid) o
      cross join lateral (select b.tree_size from public.sealed_batch b where b.organization_id = o.id
                           order by b.tree_size desc limit 1) b
      left join public.incident_cursor c on c.organization_id = o.id
     where b.tree_size > coalesce(c.leaf_index, 0);
  perform set_config('fieldward.judging', '', true);
end $$;

-- Since when the oldest head waits that was not judged as far as it goes.
create function fieldward_unjudged_since() returns timestamptz language plpgsql security definer
  set search_path = pg_catalog, pg_temp as $$
declare found timestamptz;
begin
  perform set_config('fieldward.judging', 'on', true);
  select min(b.sealed_at) into found
    from (select id from public.organization union all select '00000000-0000-0000-0000-000000000000'::uuid) o
    left join public.incident_cursor c on c.organization_id = o.id
    cross join lateral (select b.sealed_at from public.sealed_batch b
                         where b.organization_id = o.id and b.tree_size > coalesce(c.leaf_index, 0)
                         order by b.tree_size limit 1) b;
  perform set_config('fieldward.judging', '', true);
  return found;
end $$;

-- Those with alarms that are due.
create function fieldward_alarming() returns setof uuid language plpgsql security definer
  set search_path = pg_catalog, pg_temp as $$
begin
  perform set_config('fieldward.judging', 'on', true);
  return query
    select distinct a.organization_id from public.alarm_delivery a
     where a.state = 'PENDING' and a.next_attempt_at <= clock_timestamp();
  perform set_config('fieldward.judging', '', true);
end $$;

-- How many incidents there ever were, and how many are not closed, in all organizations together.
create function fieldward_incidents()
  returns table (rule varchar, severity varchar, opened bigint, unclosed bigint) language plpgsql security definer
  set search_path = pg_catalog, pg_temp as $$
begin
  perform set_config('fieldward.judging', 'on', true);
  return query
    select i.rule, i.severity, count(*), count(*) filter (where i.status <> 'CLOSED')
      from public.incident i group by i.rule, i.severity;
  perform set_config('fieldward.judging', '', true);
end $$;

-- How alarms went, in all organizations together. `failures` counts attempts that came to nothing.
create function fieldward_deliveries()
  returns table (channel varchar, state varchar, deliveries bigint, failures bigint) language plpgsql security definer
  set search_path = pg_catalog, pg_temp as $$
begin
  perform set_config('fieldward.judging', 'on', true);
  return query
    select a.channel, a.state, count(*),
           coalesce(sum(a.attempts - case a.state when 'DELIVERED' then 1 else 0 end), 0)::bigint
      from public.alarm_delivery a group by a.channel, a.state;
  perform set_config('fieldward.judging', '', true);
end $$;

do $$
declare f text;
begin
  foreach f in array array['fieldward_judged()', 'fieldward_unjudged()', 'fieldward_unjudged_since()',
                           'fieldward_alarming()', 'fieldward_incidents()',
                           'fieldward_deliveries()'] loop
    execute format('revoke execute on function %s from public', f);
    execute format('grant execute on function %s to fieldward_service', f);
  end loop;
end $$;

grant select, insert, update on incident, incident_cursor, alarm_delivery to fieldward_service;
grant select, insert on incident_evidence to fieldward_service;
