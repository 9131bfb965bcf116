-- The trees that seal the audit trail: walled like every table of a tenant, added to and never changed.

do $$
declare t text;
begin
  foreach t in array array['sealed_leaf', 'sealed_node', 'sealed_batch'] loop
    execute format('alter table %I drop constraint %I', t, t || '_pkey');
    execute format('alter table %I add primary key (organization_id, id)', t);
    execute format('alter table %I enable row level security, force row level security', t);
    execute format('create policy tenant on %I using (organization_id = (select fieldward_organization()))
                    with check (organization_id = (select fieldward_organization()))', t);
    execute format('create trigger refuse before update or delete or truncate on %I
                    for each statement execute function fieldward_refuse()', t);
    execute format('alter table %I enable always trigger refuse', t);
    execute format('grant select, insert on %I to fieldward_service', t);
  end loop;
end $$;

alter table sealed_leaf
  add constraint sealed_leaf_index_key unique (organization_id, leaf_index),
  add constraint sealed_leaf_hash_length check (octet_length(leaf_hash) = 32);
alter table sealed_node
  add constraint sealed_node_key unique (organization_id, level, node_index),
  add constraint sealed_node_hash_length check (octet_length(node_hash) = 32);
-- No two heads of one size: a second one would be a fork.
alter table sealed_batch
  add constraint sealed_batch_size_key unique (organization_id, tree_size),
  add constraint sealed_batch_root_length check (octet_length(root_hash) = 32);

-- What is not sealed yet is found by its transaction. Of changes there is an index by it already.
create index audit_entry_unsealed on audit_entry (transaction_id) where kind <> 'CHANGE';

-- ------------------------------------------------------------------ which organizations have something to seal
-- The owner sees the trail of all tenants inside of this function and nowhere else: the policy is for the owner alone, so
-- that whoever else makes the setting sees no more than before, and the function takes it back.
do $$ begin
  execute format('create policy sealing on audit_entry for select to %I
                  using (current_setting(''fieldward.sealing'', true) = ''on'')', current_user);
end $$;

create function fieldward_unsealed(since bigint) returns setof uuid language plpgsql security definer
  set search_path = pg_catalog, pg_temp as $$
begin
  perform set_config('fieldward.sealing', 'on', true);
  return query
    select distinct e.organization_id from public.audit_entry e where e.kind <> 'CHANGE' and e.transaction_id >= since
    union
    select distinct e.organization_id from public.audit_entry e where e.kind = 'CHANGE' and e.transaction_id >= since;
  perform set_config('fieldward.sealing', '', true);
end $$;
revoke execute on function fieldward_unsealed(bigint) from public;
grant execute on function fieldward_unsealed(bigint) to fieldward_service;
