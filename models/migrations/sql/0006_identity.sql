-- Authenticators, challenges, throttles, mail, invitations, programs' tokens, access reviews: walled as every table.

create function fieldward_challenge() returns bytea language sql stable parallel safe
  set search_path = pg_catalog, pg_temp as
  $$ select decode(nullif(current_setting('fieldward.challenge', true), ''), 'hex') $$;

-- ------------------------------------------------------------------ composite keys
do $$
declare t text;
begin
  foreach t in array array['authenticator', 'authenticator_use', 'outgoing_mail', 'invitation', 'service_account_token',
                           'service_account_use', 'access_review', 'access_review_item'] loop
    execute format('alter table %I drop constraint %I', t, t || '_pkey');
    execute format('alter table %I add primary key (organization_id, id)', t);
    -- Mail of people whom nobody knows lies under the nil UUID.
    if t <> 'outgoing_mail' then
      execute format('alter table %I add foreign key (organization_id) references organization (id)', t);
    end if;
  end loop;
end $$;

alter table authenticator
  add constraint authenticator_credential_key unique (credential),
  add constraint authenticator_of_its_kind check (
    (kind = 'TOTP') = (secret is not null) and (kind = 'PASSKEY') = (credential is not null)
    and (kind = 'PASSKEY') = (public_key is not null) and (kind = 'RECOVERY_CODE') = (digest is not null)),
  add foreign key (user_id) references user_account (id),
  add foreign key (organization_id, membership_id) references membership (organization_id, id);
alter table authenticator_use
  add foreign key (user_id) references user_account (id),
  add foreign key (organization_id, id) references authenticator (organization_id, id) on delete cascade;
alter table challenge add constraint challenge_digest_key unique (digest);
alter table outgoing_mail add foreign key (user_id) references user_account (id);
alter table invitation
  add foreign key (organization_id, custom_role_id) references custom_role (organization_id, id)
    on delete set null (custom_role_id),
  add foreign key (organization_id, project_id) references project (organization_id, id),
  add foreign key (organization_id, invited_by_id) references membership (organization_id, id),
  add foreign key (organization_id, membership_id) references membership (organization_id, id),
  add constraint invitation_one_role check (custom_role_id is null or role = 'MEMBER'),
  add constraint invitation_project_role check ((project_id is null) = (project_role is null)),
  add constraint invitation_accepted check ((status = 'ACCEPTED') = (membership_id is not null));
alter table service_account_token
  add foreign key (organization_id, service_account_id) references service_account (organization_id, id),
  add foreign key (organization_id, created_by_id) references membership (organization_id, id),
  add foreign key (organization_id, revoked_by_id) references membership (organization_id, id);
alter table service_account_use
  add foreign key (organization_id, id) references service_account_token (organization_id, id);
alter table access_review
  add foreign key (organization_id, opened_by_id) references membership (organization_id, id),
  add foreign key (organization_id, closed_by_id) references membership (organization_id, id),
  add constraint access_review_closed check (closed_by_id is null or closed_at is not null);
alter table access_review_item
  add constraint access_review_item_key unique (organization_id, access_review_id, kind, subject),
  add foreign key (organization_id, access_review_id) references access_review (organization_id, id),
  add foreign key (organization_id, membership_id) references membership (organization_id, id),
  add foreign key (organization_id, project_id) references project (organization_id, id),
  add foreign key (organization_id, decided_by_id) references membership (organization_id, id),
  add constraint access_review_item_decided check ((decision is null) = (decided_at is null));

create index on authenticator (user_id);
create index on challenge (user_id);
create index on challenge (expires_at);
create index on throttle (failed_at);
create index outgoing_mail_due on outgoing_mail (next_attempt_at) where state = 'PENDING';
create index outgoing_mail_unusual on outgoing_mail (user_id, created_at) where kind = 'SIGN_IN_UNUSUAL';
create index on invitation (organization_id, created_at, id);
-- One address has one invitation at a time.
create unique index invitation_pending on invitation (organization_id, email_index) where status = 'PENDING';
create index on service_account_token (organization_id, service_account_id);
create index on access_review (organization_id, created_at, id);
create unique index access_review_open on access_review (organization_id) where closed_at is null;

-- ------------------------------------------------------------------ row-level security
do $$
declare t text;
begin
  foreach t in array array['outgoing_mail', 'invitation', 'service_account_token', 'service_account_use', 'access_review',
                           'access_review_item'] loop
    execute format('alter table %I enable row level security, force row level security', t);
    execute format('create policy tenant on %I using (organization_id = (select fieldward_organization()))
                    with check (organization_id = (select fieldward_organization()))', t);
  end loop;
  -- What somebody proves who they are with is theirs in every organization, and told before one is chosen. What was added
  -- in one is changed in that one; how far it was used is noted wherever it is.
  execute 'alter table authenticator enable row level security, force row level security';
  execute 'create policy tenant on authenticator
           using (organization_id = (select fieldward_organization()) or user_id = (select fieldward_user()))
           with check (organization_id = (select fieldward_organization()))';
  execute 'alter table authenticator_use enable row level security, force row level security';
  execute 'create policy person on authenticator_use
           using (user_id = (select fieldward_user())) with check (user_id = (select fieldward_user()))';
  execute 'alter table challenge enable row level security, force row level security';
  execute 'create policy asked on challenge
           using (digest = (select fieldward_challenge()) or user_id = (select fieldward_user()))
           with check (digest = (select fieldward_challenge()) or user_id = (select fieldward_user()))';
  -- Keyed digests and counts: nobody's rows, and no tenant's.
  execute 'alter table throttle enable row level security, force row level security';
  execute 'create policy counted on throttle using (true) with check (true)';
end $$;

-- ------------------------------------------------------------------ audit
do $$
declare t text;
begin
  foreach t in array array['authenticator', 'invitation', 'service_account_token', 'access_review',
                           'access_review_item'] loop
    execute format('create trigger refuse before truncate on %I
                    for each statement execute function fieldward_refuse()', t);
    execute format('alter table %I enable always trigger refuse', t);
  end loop;
  foreach t in array array['outgoing_mail', 'service_account_use', 'challenge', 'throttle'] loop
    execute format('create trigger refuse before truncate on %I
                    for each statement execute function fieldward_refuse()', t);
    execute format('alter table %I enable always trigger refuse', t);
  end loop;
end $$;
select fieldward_audit('authenticator', 'organization_id', '{secret}', '{digest}', null, 'membership_id', null);
select fieldward_audit('invitation', 'organization_id', '{email_index}', '{token_digest}', null, null, null);
select fieldward_audit('service_account_token', 'organization_id', '{}', '{token_digest}', null, null, null);
select fieldward_audit('access_review', 'organization_id', '{}', '{}', null, null, null);
select fieldward_audit('access_review_item', 'organization_id', '{}', '{}', null, null, null);

grant execute on function fieldward_challenge() to fieldward_service;
grant select, insert, update on challenge, throttle, outgoing_mail, invitation, service_account_token, service_account_use,
  access_review, access_review_item to fieldward_service;
grant select, insert, update, delete on authenticator to fieldward_service;
grant select, insert, update on authenticator_use to fieldward_service;

-- ------------------------------------------------------------------ what there is to do, whoever's it is
-- The owner sees all inside of these functions and nowhere else.
do $$
declare t text;
begin
  foreach t in array array['outgoing_mail', 'challenge', 'throttle', 'access_review'] loop
    execute format('create policy tending on %I to %I
                    using (current_setting(''fieldward.tending'', true) = ''on'')', t, current_user);
  end loop;
end $$;

-- The organizations with mail that is due, and the nil UUID.
create function fieldward_mailing() returns setof uuid language plpgsql security definer
  set search_path = pg_catalog, pg_temp as $$
begin
  perform set_config('fieldward.tending', 'on', true);
  return query
    select distinct m.organization_id from public.outgoing_mail m
     where m.state = 'PENDING' and m.next_attempt_at <= clock_timestamp();
  perform set_config('fieldward.tending', '', true);
end $$;

-- How many access reviews of all organizations are open after the moment at which they were to be done.
create function fieldward_overdue_reviews() returns bigint language plpgsql security definer
  set search_path = pg_catalog, pg_temp as $$
declare overdue bigint;
begin
  perform set_config('fieldward.tending', 'on', true);
  select count(*) into overdue from public.access_review r
   where r.closed_at is null and r.due_at < clock_timestamp();
  perform set_config('fieldward.tending', '', true);
  return overdue;
end $$;

-- Forgets challenges that were over, and failures that were the last of their kind, a day ago. Returns how many.
create function fieldward_forget() returns bigint language plpgsql security definer
  set search_path = pg_catalog, pg_temp as $$
declare challenges bigint; throttles bigint;
begin
  perform set_config('fieldward.tending', 'on', true);
  delete from public.challenge c where c.expires_at < clock_timestamp() - interval '1 day';
  get diagnostics challenges = row_count;
  delete from public.throttle t
   where t.failed_at < clock_timestamp() - interval '1 day' and t.free_at < clock_timestamp();
  get diagnostics throttles = row_count;
  perform set_config('fieldward.tending', '', true);
  return challenges + throttles;
end $$;

do $$
declare f text;
begin
  foreach f in array array['fieldward_mailing()', 'fieldward_forget()', 'fieldward_overdue_reviews()'] loop
    execute format('revoke execute on function %s from public', f);
    execute format('grant execute on function %s to fieldward_service', f);
  end loop;
end $$;
