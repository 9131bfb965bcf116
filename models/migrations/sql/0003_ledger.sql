-- The trees that seal the audit trail: walled like every table of a tenant, added to and never changed.

do $$
declare t text;
begin
  foreach t in array array['sealed_leaf', 'sealed_node', 'sealed_batch', 'cosignature', 'publication'] loop
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
create unique index sealed_batch_heads_index on sealed_batch (heads_index) where heads_index is not null;
alter table cosignature add constraint cosignature_key unique (organization_id, tree_size, witness);
create index on publication (organization_id, heads_size);

-- What is not sealed yet is found by its transaction.
create index audit_entry_by_transaction on audit_entry (transaction_id);

-- ------------------------------------------------------------------ what the sealer sees of all organizations
-- The owner sees these tables of all tenants inside of these functions and nowhere else: the policies are for the owner
-- alone, so that whoever else makes the setting sees no more than before, and each function takes it back.
do $$
declare t text;
begin
  foreach t in array array['audit_entry', 'sealed_leaf', 'sealed_batch'] loop
    execute format('create policy sealing on %I for select to %I
                    using (current_setting(''fieldward.sealing'', true) = ''on'')', t, current_user);
  end loop;
end $$;

-- Which organizations have entries of these transactions: from the first up to, and without, the second.
create function fieldward_unsealed(since bigint, before bigint) returns setof uuid language plpgsql security definer
  set search_path = pg_catalog, pg_temp as $$
begin
  perform set_config('fieldward.sealing', 'on', true);
  return query
    select distinct e.organization_id from public.audit_entry e
     where e.transaction_id >= since and e.transaction_id < before;
  perform set_config('fieldward.sealing', '', true);
end $$;

-- Every organization that has entries: a look into the index for each, however many entries there are.
create function fieldward_trails() returns setof uuid language plpgsql security definer
  set search_path = pg_catalog, pg_temp as $$
begin
  perform set_config('fieldward.sealing', 'on', true);
  return query
    with recursive t as (
      (select e.organization_id as id from public.audit_entry e order by e.organization_id limit 1)
      union all
      select (select e.organization_id from public.audit_entry e where e.organization_id > t.id
               order by e.organization_id limit 1)
        from t where t.id is not null)
    select id from t where id is not null;
  perform set_config('fieldward.sealing', '', true);
end $$;

-- When the oldest entry was written that is of such a transaction, and is not sealed: the first by its transaction, which
-- is the oldest but for the moment between a transaction's begin and its number.
create function fieldward_oldest_unsealed(since bigint) returns timestamptz language plpgsql security definer
  set search_path = pg_catalog, pg_temp as $$
declare oldest timestamptz;
begin
  perform set_config('fieldward.sealing', 'on', true);
  oldest := (
    select e.at from public.audit_entry e
     where e.transaction_id >= since
       and e.transaction_id < (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint)
       and (select true from public.sealed_leaf l
             where l.organization_id = e.organization_id and l.id = e.id limit 1) is null
     order by e.transaction_id limit 1);
  perform set_config('fieldward.sealing', '', true);
  return oldest;
end $$;

-- The newest head of each organization that the tree of heads has got a leaf about since it had that size.
create function fieldward_heads_since(heads_size bigint)
  returns table (organization_id uuid, tree_size bigint, root_hash bytea, checkpoint varchar, sealed_at timestamptz)
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform set_config('fieldward.sealing', 'on', true);
  return query
    select distinct on (b.organization_id) b.organization_id, b.tree_size, b.root_hash, b.checkpoint, b.sealed_at
      from public.sealed_batch b where b.heads_index >= heads_size order by b.organization_id, b.tree_size desc;
  perform set_config('fieldward.sealing', '', true);
end $$;

do $$
declare f text;
begin
  foreach f in array array['fieldward_unsealed(bigint, bigint)', 'fieldward_trails()', 'fieldward_oldest_unsealed(bigint)',
                           'fieldward_heads_since(bigint)'] loop
    execute format('revoke execute on function %s from public', f);
    execute format('grant execute on function %s to fieldward_service', f);
  end loop;
end $$;
