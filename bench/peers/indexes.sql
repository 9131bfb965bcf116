-- Made after the rows are there. (project_id, id) serves the cursors of PostGraphile, `limit` and `plain`;
-- (project_id, collected_at) the filter that Directus pages by.
create index on project (organization_id);
create index on device (organization_id);
create index on record (project_id, id);
create index on record (project_id, collected_at, id);
create index on record (organization_id);
create index on record (device_id);
create index on measurement (record_id, position);
create index on measurement (organization_id);
