-- Sites: walled and audited like every table of a tenant.

alter table site drop constraint site_pkey;
alter table site
  add primary key (organization_id, id),
  add foreign key (organization_id) references organization (id),
  add foreign key (organization_id, project_id) references project (organization_id, id),
  add constraint site_code_key unique (organization_id, project_id, code);
alter table site enable row level security, force row level security;
create policy tenant on site using (organization_id = (select fieldward_organization()))
  with check (organization_id = (select fieldward_organization()));
create trigger refuse before truncate on site for each statement execute function fieldward_refuse();
alter table site enable always trigger refuse;
select fieldward_audit('site', 'organization_id', '{creation_digest}', '{}', 'project_id', null, null);
grant select, insert, update, delete on site to fieldward_service;

create index on site (organization_id, code, id);
create index on site (organization_id, project_id, code, id);
create index on site (organization_id, project_id, created_at, id);
