-- How entries leave the audit trail: after the period that their organization set for their kind, and in no other way.
-- What leaves is replaced by its leaf hash, so that the tree over the trail, and every proof made from it, stays.

alter table trail_retention drop constraint trail_retention_pkey;
alter table trail_retention
  add primary key (organization_id, id),
  add foreign key (organization_id) references organization (id),
  add constraint trail_retention_kind_key unique (organization_id, kind),
  add constraint trail_retention_days check (days between 90 and 36500);
alter table trail_retention enable row level security, force row level security;
create policy tenant on trail_retention using (organization_id = (select fieldward_organization()))
  with check (organization_id = (select fieldward_organization()));
create trigger refuse before truncate on trail_retention for each statement execute function fieldward_refuse();
alter table trail_retention enable always trigger refuse;
select fieldward_audit('trail_retention', 'organization_id', '{}', '{}', null, null, null);
grant select, insert, update on trail_retention to fieldward_service;

-- Rows that are gone are found by their end, and not among all changes.
create index change_deleted on change (organization_id, id) where operation = 'DELETE';
create index on sealed_batch (organization_id, sealed_at);

-- ------------------------------------------------------------------ what the age of an entry is counted by
-- An entry's time is forced when it is written (`stamp`); so is that of the head over it.
create function fieldward_stamp_batch() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  new.sealed_at := transaction_timestamp();
  return new;
end $$;
create trigger stamp before insert on sealed_batch for each row execute function fieldward_stamp_batch();
alter table sealed_batch enable always trigger stamp;

-- A leaf is not born expired.
create policy present on sealed_leaf as restrictive for insert with check (expired_by is null);

-- ------------------------------------------------------------------ what may leave
-- The functions below read as whoever calls them, and so within the tenant of the transaction alone.

-- Before when entries of a kind must have been written and sealed to leave; null where they stay. Nothing leaves in the
-- week after the period was decided: when that was, the trail says, and nobody who writes a row.
create function fieldward_trail_cutoff(organization uuid, entry_kind text) returns timestamptz language sql stable
  set search_path = pg_catalog, pg_temp as $$
  select transaction_timestamp() - make_interval(hours => greatest(r.days, 90) * 24)
    from public.trail_retention r
   where r.organization_id = organization and r.kind = entry_kind and r.days is not null
     and (select max(e.at)
            from public.change c
            join public.audit_entry e on e.organization_id = c.organization_id and e.id = c.entry_id
           where c.organization_id = organization and c.entity = 'trail_retention' and c.entity_id = r.id)
         < transaction_timestamp() - interval '168 hours' $$;

-- How many leaves lie under a head that was signed before a moment; null where there is none.
create function fieldward_sealed_before(organization uuid, moment timestamptz) returns bigint language sql stable
  set search_path = pg_catalog, pg_temp as $$
  select b.tree_size from public.sealed_batch b
   where b.organization_id = organization and b.sealed_at < moment
   order by b.sealed_at desc, b.tree_size desc limit 1 $$;

-- Which of these entries may not leave, if all of them were to leave at once.
-- An entry of what was changed leaves only if each row that it changed went longer ago than the period, and together
-- with or after whatever was done to that row before: the history of what exists is never cut, and of what is gone, its
-- end is the last to go. What changed no row (keys, erasures) and what other entries left by stays.
create function fieldward_staying(organization uuid, ids uuid[]) returns setof uuid language sql stable
  set search_path = pg_catalog, pg_temp as $$
  with asked as materialized (select distinct i.id from unnest(ids) i(id)),
  period as materialized (
    select k.kind, p.cutoff, public.fieldward_sealed_before(organization, p.cutoff) as size
      from unnest(array['READ', 'ATTEMPT', 'CHANGE']) k(kind),
           public.fieldward_trail_cutoff(organization, k.kind) p(cutoff)),
  old as materialized (
    select e.id, e.kind
      from asked a
      join public.audit_entry e on e.organization_id = organization and e.id = a.id
      join period p on p.kind = e.kind and e.at < p.cutoff
      join public.sealed_leaf l on l.organization_id = organization and l.id = e.id and l.leaf_index < p.size
     where e.action <> 'audit.expire')
  select a.id from asked a where not exists (select from old o where o.id = a.id)
  union
  select o.id from old o
   where o.kind = 'CHANGE'
     and not exists (select from public.change c where c.organization_id = organization and c.entry_id = o.id)
  union
  select o.id
    from old o
    join public.change c on c.organization_id = organization and c.entry_id = o.id
   where not exists (
           select from public.change d
             join public.audit_entry e on e.organization_id = organization and e.id = d.entry_id
             join period p on p.kind = 'CHANGE' and e.at < p.cutoff
             join public.sealed_leaf l on l.organization_id = organization and l.id = e.id and l.leaf_index < p.size
            where d.organization_id = organization and d.entity = c.entity and d.entity_id = c.entity_id
              and d.operation = 'DELETE'
              and not exists (select from public.change n
                               where n.organization_id = organization and n.entity = d.entity
                                 and n.entity_id = d.entity_id and n.id > d.id))
      or exists (
           select from public.change b
            where b.organization_id = organization and b.entity = c.entity and b.entity_id = c.entity_id and b.id < c.id
              and not exists (select from asked a where a.id = b.entry_id)) $$;

-- Entries of a kind that may leave now, the oldest first: so many, or of changes so many rows of them, and one more at
-- the most. None of those that were written before `since` are looked for, but for changes: those leave by their rows.
create function fieldward_expirable(entry_kind text, since timestamptz, most bigint)
  returns table (id uuid, at timestamptz) language plpgsql stable set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  organization uuid := public.fieldward_organization();
  cutoff timestamptz := public.fieldward_trail_cutoff(organization, entry_kind);
  size bigint := public.fieldward_sealed_before(organization, cutoff);
  ids uuid[];
  before bigint;
begin
  if size is null then
    return;
  end if;
  if entry_kind <> 'CHANGE' then
    return query
      select e.id, e.at
        from public.audit_entry e
        join public.sealed_leaf l on l.organization_id = e.organization_id and l.id = e.id
       where e.organization_id = organization and e.kind = entry_kind and e.at >= since and e.at < cutoff
         and l.leaf_index < size and l.expired_by is null and e.action <> 'audit.expire'
       order by e.at, e.id limit most;
    return;
  end if;
  ids := array(
    select distinct c.entry_id
      from public.change d
      join public.audit_entry e on e.organization_id = d.organization_id and e.id = d.entry_id
      join public.change c on c.organization_id = d.organization_id and c.entity = d.entity and c.entity_id = d.entity_id
     where d.organization_id = organization and d.operation = 'DELETE' and e.at < cutoff);
  loop
    before := cardinality(ids);
    ids := array(select unnest(ids) except select public.fieldward_staying(organization, ids));
    exit when cardinality(ids) = before;
  end loop;
  -- Of two that changed the same row the later one waited for the earlier to end: by the last of their changes, whatever
  -- is cut off here leaves with all that came before it.
  return query
    select t.id, t.at
      from (select s.id, s.at, s.last, sum(s.rows) over (order by s.last) - s.rows as before_it
              from (select e.id, e.at, max(c.id) as last, count(*) as rows
                      from unnest(ids) i(id)
                      join public.audit_entry e on e.organization_id = organization and e.id = i.id
                      join public.change c on c.organization_id = organization and c.entry_id = i.id
                     group by e.id, e.at) s) t
     where t.before_it < most
     order by t.last;
end $$;

revoke execute on function fieldward_trail_cutoff(uuid, text), fieldward_sealed_before(uuid, timestamptz),
  fieldward_staying(uuid, uuid[]), fieldward_expirable(text, timestamptz, bigint) from public;
grant execute on function fieldward_trail_cutoff(uuid, text), fieldward_sealed_before(uuid, timestamptz),
  fieldward_staying(uuid, uuid[]), fieldward_expirable(text, timestamptz, bigint) to fieldward_service;

-- ------------------------------------------------------------------ the one way out
-- What is about to leave is what this transaction's own entry names: an entry `audit.expire`, written before. Whoever
-- looks at the trail later finds by it what is missing, since when, and who let it go.
create function fieldward_expiring(out organization_id uuid, out id uuid, out entity_ids uuid[]) language sql stable
  set search_path = pg_catalog, pg_temp as $$
  select e.organization_id, e.id, e.entity_ids from public.audit_entry e
   where e.transaction_id = pg_current_xact_id()::text::bigint and e.at = transaction_timestamp() and e.kind = 'CHANGE'
     and e.action = 'audit.expire' and e.organization_id = public.fieldward_organization() $$;
revoke execute on function fieldward_expiring() from public;

-- A leaf takes one change: that it is noted by which entry its own left, where that may leave. This holds the owner too.
create function fieldward_mark_expired() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  act record;
begin
  select * into act from public.fieldward_expiring();
  if act.id is null then
    raise exception 'the table % takes no %', tg_table_name, tg_op using errcode = 'insufficient_privilege';
  end if;
  if exists (
       select from new_rows n
        where n.organization_id <> act.organization_id or n.expired_by is distinct from act.id
           or (n.id = any (act.entity_ids)) is not true
           or not exists (select from old_rows o
                           where o.organization_id = n.organization_id and o.id = n.id and o.leaf_index = n.leaf_index
                             and o.leaf_hash = n.leaf_hash and o.expired_by is null))
     or exists (select from public.fieldward_staying(act.organization_id, array(select n.id from new_rows n))) then
    raise exception 'an entry that is to leave the trail may not' using errcode = 'insufficient_privilege';
  end if;
  return null;
end $$;
drop trigger refuse on sealed_leaf;
create trigger refuse before delete or truncate on sealed_leaf for each statement execute function fieldward_refuse();
create trigger mark_expired after update on sealed_leaf referencing old table as old_rows new table as new_rows
  for each statement execute function fieldward_mark_expired();
alter table sealed_leaf enable always trigger refuse, enable always trigger mark_expired;

-- Entries and changes are never changed, and go only where their leaf was so noted in this very transaction.
create function fieldward_refuse_unless_expired() returns trigger language plpgsql
  set search_path = pg_catalog, pg_temp as $$
declare
  entry uuid;
begin
  if tg_op = 'DELETE' then
    if tg_table_name = 'change' then
      entry := old.entry_id;
    else
      entry := old.id;
    end if;
    if exists (select from public.sealed_leaf l, public.fieldward_expiring() act
                where l.organization_id = old.organization_id and l.id = entry and l.expired_by = act.id
                  and l.organization_id = act.organization_id) then
      return old;
    end if;
  end if;
  raise exception 'the table % takes no %', tg_table_name, tg_op using errcode = 'insufficient_privilege';
end $$;
do $$
declare t text;
begin
  foreach t in array array['audit_entry', 'change'] loop
    execute format('drop trigger refuse on %I', t);
    execute format('create trigger refuse before update or delete on %I
                    for each row execute function fieldward_refuse_unless_expired()', t);
    execute format('create trigger refuse_truncate before truncate on %I
                    for each statement execute function fieldward_refuse()', t);
    execute format('alter table %I enable always trigger refuse, enable always trigger refuse_truncate', t);
  end loop;
end $$;

-- Lets go of what this transaction's entry names and returns how many entries that were: of the tenant of the
-- transaction, and only of what may leave now, whoever asks and whatever the entry names.
create function fieldward_expire() returns bigint language plpgsql security definer
  set search_path = pg_catalog, pg_temp as $$
declare
  act record;
  left_now bigint;
begin
  select * into act from public.fieldward_expiring();
  if act.id is null or act.entity_ids = '{}' then
    raise exception 'nothing leaves the trail without an entry that names it' using errcode = 'insufficient_privilege';
  end if;
  -- In the order of their numbers: of two who let go of the same, one waits.
  perform from public.sealed_leaf l
    where l.organization_id = act.organization_id and l.id = any (act.entity_ids)
    order by l.leaf_index for update;
  update public.sealed_leaf l set expired_by = act.id
   where l.organization_id = act.organization_id and l.id = any (act.entity_ids) and l.expired_by is null;
  get diagnostics left_now = row_count;
  if left_now is distinct from cardinality(act.entity_ids) then
    raise exception 'an entry that is to leave the trail is not sealed, or has left' using errcode = 'insufficient_privilege';
  end if;
  delete from public.change c where c.organization_id = act.organization_id and c.entry_id = any (act.entity_ids);
  delete from public.audit_entry e where e.organization_id = act.organization_id and e.id = any (act.entity_ids);
  return left_now;
end $$;
revoke execute on function fieldward_expire() from public;
grant execute on function fieldward_expire() to fieldward_service;
