-- Whoever decides about a gate, also one that is not there yet. In the order of the locks, which is not that of the ids.
select pg_advisory_xact_lock(1397053782, ordered.lock)::text
from (select distinct hashtext(i) as lock from unnest($1::text[]) i order by 1 offset 0) ordered
