-- As lock_series, for a lane that waits for nobody.
select ordered.name, pg_try_advisory_xact_lock(1397053779, hashtext(ordered.name))
from (
    select named.name
    from (
        select unnest($1::text[]) collate "C" as name
        union
        select c.series from seriatim.counter c where c.id = any($2::text[])
    ) named
    order by named.name offset 0
) ordered
