-- Trusted documents: walled as every table. What an organization runs besides is a column of its row, null where nobody
-- decided it, so that no row changes behind the trail's back.

alter table trusted_document drop constraint trusted_document_pkey;
alter table trusted_document
  add primary key (organization_id, id),
  add foreign key (organization_id) references organization (id),
  add constraint trusted_document_key unique (organization_id, sha256, client_name, client_version),
  add constraint trusted_document_digest check (sha256 = encode(sha256(convert_to(text, 'UTF8')), 'hex'));
create index on trusted_document (organization_id, client_name, client_version);
create index on trusted_document (organization_id, created_at, id);
alter table trusted_document enable row level security, force row level security;
create policy tenant on trusted_document using (organization_id = (select fieldward_organization()))
  with check (organization_id = (select fieldward_organization()));
create trigger refuse before truncate on trusted_document for each statement execute function fieldward_refuse();
alter table trusted_document enable always trigger refuse;
select fieldward_audit('trusted_document', 'organization_id', '{}', '{}', null, null, null);
select fieldward_audit('organization', 'id', '{}', '{}', null, null, null);
grant select, insert, delete on trusted_document to fieldward_service;
