-- As lock_gates, for a lane that waits for nobody.
select pg_try_advisory_xact_lock(1397053782, ordered.lock)
from (select distinct hashtext(i) as lock from unnest($1::text[]) i order by 1 offset 0) ordered
