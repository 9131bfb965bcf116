-- Requests for erasure: walled like every table of a tenant. What of a request is words goes with the request's own key.

alter table erasure_request drop constraint erasure_request_pkey;
alter table erasure_request
  add primary key (organization_id, id),
  add foreign key (organization_id) references organization (id),
  add foreign key (organization_id, membership_id) references membership (organization_id, id),
  add foreign key (organization_id, requested_by_id) references membership (organization_id, id),
  add foreign key (organization_id, confirmed_by_id) references membership (organization_id, id),
  add foreign key (organization_id, withdrawn_by_id) references membership (organization_id, id),
  add foreign key (user_id) references user_account (id),
  add constraint erasure_request_person check ((kind = 'PERSON') = (user_id is not null)),
  add constraint erasure_request_member check ((user_id is null) = (membership_id is null)),
  add constraint erasure_request_confirmed check (
    (status in ('CONFIRMED', 'EXECUTING', 'DONE')) <= (confirmed_at is not null and execute_after is not null)),
  -- Nobody asks for the erasure of somebody else and confirms it, not even by hand in the database: an owner who is the
  -- only one may do both for their organization, and a person for themselves.
  add constraint erasure_request_by_two check (
    confirmed_by_id is null or kind <> 'NAME' or confirmed_by_id <> requested_by_id),
  add constraint erasure_request_due check (execute_after is null or execute_after <= due_at or confirmed_at >= due_at),
  add constraint erasure_request_done check (
    (status = 'DONE') = (certificate is not null) and (status = 'DONE') = (finished_at is not null));

-- One request for a person, and one for the organization, at a time.
create unique index erasure_request_open on erasure_request
  (organization_id, kind, coalesce(user_id, organization_id))
  where kind <> 'NAME' and status in ('REQUESTED', 'CONFIRMED', 'EXECUTING');
create index on erasure_request (organization_id, created_at, id);
create index erasure_request_to_do on erasure_request (organization_id)
  where status in ('REQUESTED', 'CONFIRMED', 'EXECUTING');

alter table erasure_request enable row level security, force row level security;
create policy tenant on erasure_request using (organization_id = (select fieldward_organization()))
  with check (organization_id = (select fieldward_organization()));

create trigger refuse before truncate on erasure_request for each statement execute function fieldward_refuse();
alter table erasure_request enable always trigger refuse;
select fieldward_audit('erasure_request', 'organization_id', '{name_indexes}', '{token_digest}', null, 'membership_id',
                       null);
grant select, insert, update on erasure_request to fieldward_service;

-- Whom an address was invited as is looked for by it, however the invitation ended; and what lies under a key by what
-- a sealed value begins with. An index on that beginning alone would not be used: where rows are walled off, functions
-- that may tell of what they are given come after the wall, and comparisons of bytes do not tell.
create index on invitation (organization_id, email_index);
create index on invitation (organization_id, email);
create index on record (organization_id, collector) where collector_index is not null;

-- It has a column more.
select fieldward_audit('data_export', 'organization_id', '{request,creation_digest,searched_for}', '{link_digest}', null,
                       'created_by_id', null);

-- ------------------------------------------------------------------ what there is to do, in which organizations
-- The owner sees all inside of these functions and nowhere else.
do $$
declare t text;
begin
  foreach t in array array['erasure_request', 'invitation'] loop
    execute format('create policy tending on %I to %I
                    using (current_setting(''fieldward.tending'', true) = ''on'')', t, current_user);
  end loop;
end $$;

-- The organizations with requests that are not over, and those with words of one that was withdrawn or lapsed.
create function fieldward_erasing() returns setof uuid language plpgsql security definer
  set search_path = pg_catalog, pg_temp as $$
begin
  perform set_config('fieldward.tending', 'on', true);
  return query
    select distinct r.organization_id from public.erasure_request r
     where r.status in ('REQUESTED', 'CONFIRMED', 'EXECUTING')
        or (r.status in ('WITHDRAWN', 'LAPSED') and num_nonnulls(r.named, r.reason) > 0);
  perform set_config('fieldward.tending', '', true);
end $$;

-- How many requests are not over, how many that were confirmed should be done by now, be it that a restore has them
-- confirmed anew, and when the first has to be.
create function fieldward_erasures(out open bigint, out overdue bigint, out next_due timestamptz)
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform set_config('fieldward.tending', 'on', true);
  select count(*), count(*) filter (where r.due_at < clock_timestamp() and r.confirmed_at is not null), min(r.due_at)
    into open, overdue, next_due from public.erasure_request r
   where r.status in ('REQUESTED', 'CONFIRMED', 'EXECUTING');
  perform set_config('fieldward.tending', '', true);
end $$;

-- The organizations that ever invited anybody: whom an address was invited by is found by each one's own index.
create function fieldward_inviting() returns setof uuid language plpgsql security definer
  set search_path = pg_catalog, pg_temp as $$
begin
  perform set_config('fieldward.tending', 'on', true);
  return query select distinct i.organization_id from public.invitation i;
  perform set_config('fieldward.tending', '', true);
end $$;

do $$
declare f text;
begin
  foreach f in array array['fieldward_erasing()', 'fieldward_erasures()', 'fieldward_inviting()'] loop
    execute format('revoke execute on function %s from public', f);
    execute format('grant execute on function %s to fieldward_service', f);
  end loop;
end $$;

-- ------------------------------------------------------------------ which of the tenant's authenticators were used
-- How far one was used is its person's to see. That it was is noted outside of the database, with what lets somebody in:
-- a recovery code that was used does not work again where an older database comes back.
do $$
begin
  execute format('create policy tending on authenticator_use to %I
                  using (current_setting(''fieldward.tending'', true) = ''on'')', current_user);
end $$;

create function fieldward_used_authenticators() returns setof uuid language plpgsql security definer
  set search_path = pg_catalog, pg_temp as $$
begin
  perform set_config('fieldward.tending', 'on', true);
  return query select u.id from public.authenticator_use u where u.organization_id = public.fieldward_organization();
  perform set_config('fieldward.tending', '', true);
end $$;
revoke execute on function fieldward_used_authenticators() from public;
grant execute on function fieldward_used_authenticators() to fieldward_service;
