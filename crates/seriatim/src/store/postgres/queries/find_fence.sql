-- The fence, and where it stands: which cluster and timeline this is now.
select f.system_id, f.timeline, f.open, f.reason, f.decided_at, s.system_identifier::text,
       substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), seriatim.fence_problem()
from seriatim.fence f, pg_control_system() s
