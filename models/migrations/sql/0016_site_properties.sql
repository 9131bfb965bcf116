-- An import of sites says in which properties of a feature they are, where those have names of their own.

alter table data_import
  drop constraint data_import_mapped,
  add constraint data_import_mapped
    check (case kind when 'CSV' then mapping is not null when 'GEOJSON_SITES' then true else mapping is null end)
    not valid;
