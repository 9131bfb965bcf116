-- The feed of changes: what an organization's transactions changed, in the order of their numbers.

-- A puller goes on from where it was, however much others write: entries of changes of one organization, by transaction.
create index audit_entry_feed on audit_entry (organization_id, transaction_id) where kind = 'CHANGE';

-- In which organizations something was changed in these transactions: from the first up to, and without, the second. The
-- owner sees entries of all tenants inside of this alone (0003_ledger.sql).
create function fieldward_changed(since bigint, before bigint) returns setof uuid language plpgsql security definer
  set search_path = pg_catalog, pg_temp as $$
begin
  perform set_config('fieldward.sealing', 'on', true);
  return query
    select distinct e.organization_id from public.audit_entry e
     where e.kind = 'CHANGE' and e.transaction_id >= since and e.transaction_id < before;
  perform set_config('fieldward.sealing', '', true);
end $$;
revoke execute on function fieldward_changed(bigint, bigint) from public;
grant execute on function fieldward_changed(bigint, bigint) to fieldward_service;
