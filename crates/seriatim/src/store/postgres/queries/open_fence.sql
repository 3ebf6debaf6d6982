-- An operator has decided: later than before, whatever the clock says.
update seriatim.fence f
set system_id = (select s.system_identifier::text from pg_control_system() s),
    timeline = substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8),
    database_id = (select d.oid from pg_database d where d.datname = current_database()),
    open = true, reason = null,
    changed_at = (extract(epoch from clock_timestamp()) * 1000000)::bigint,
    decided_at = greatest(f.decided_at + 1, (extract(epoch from clock_timestamp()) * 1000000)::bigint)
returning f.system_id, f.timeline
