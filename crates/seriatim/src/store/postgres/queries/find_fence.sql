-- The fence, and where it stands: which cluster and timeline this is now.
select f.system_id, f.timeline, f.open, f.reason, f.decided_at, s.system_identifier::text,
       substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), seriatim.fence_problem(),
       -- Whether numbers can have been taken that no node knows of: the functions of the other door are here.
       exists (select 1 from pg_proc p where p.pronamespace = 'seriatim'::regnamespace and p.proname = 'next')
from seriatim.fence f, pg_control_system() s
