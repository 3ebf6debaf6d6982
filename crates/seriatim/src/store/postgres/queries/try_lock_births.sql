-- As lock_births, for a lane that waits for nobody.
select ordered.id, pg_try_advisory_xact_lock(1397053781, hashtext(ordered.id))
from (select unnest($1::text[]) as id order by 1 offset 0) ordered
