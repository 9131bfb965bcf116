-- The feed of changes: what an organization's transactions changed, in the order of their numbers.

-- A puller goes on from where it was, however much others write: entries of changes of one organization, by transaction.
create index audit_entry_feed on audit_entry (organization_id, transaction_id) where kind = 'CHANGE';
