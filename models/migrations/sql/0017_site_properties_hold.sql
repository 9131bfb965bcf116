-- In a transaction of its own: who reads and writes meanwhile is not held up by the look at what is there.

alter table data_import validate constraint data_import_mapped;
