-- The peers' tables: the columns that the workloads touch, with the same types, keys and indexes as Fieldward's.
create table organization (id uuid primary key, slug text not null, name text not null);
create table project (
  id uuid primary key, organization_id uuid not null references organization, code text not null, name text not null,
  status text not null);
create table device (
  id uuid primary key, organization_id uuid not null references organization, platform text not null,
  model text not null);
create table record (
  id uuid primary key default uuidv7(), organization_id uuid not null references organization,
  project_id uuid not null references project, device_id uuid not null references device, site_code text not null,
  site_name text not null, latitude double precision not null, longitude double precision not null,
  collected_at timestamptz not null, medium text not null, activity_type text not null, method text not null,
  status text not null default 'DRAFT', comment text not null, version integer not null default 1);
create table measurement (
  id uuid primary key, organization_id uuid not null references organization, project_id uuid not null,
  record_id uuid not null references record on delete cascade, position integer not null,
  characteristic text not null, value double precision not null, unit text not null);
create table audit_entry (
  id uuid primary key default uuidv7(), organization_id uuid not null, at timestamptz not null default now(),
  actor text not null, action text not null, object_type text not null, object_id uuid not null, change jsonb not null);
