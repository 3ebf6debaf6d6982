-- Whoever found no row for a counter; then it looks once more.
select ordered.id, pg_advisory_xact_lock(1397053781, hashtext(ordered.id))::text
from (select unnest($1::text[]) as id order by 1 offset 0) ordered
