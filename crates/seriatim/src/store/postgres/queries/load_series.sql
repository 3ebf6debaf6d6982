-- Also of the counters that are named by id only: their rules will be asked for.
select s.name, s.version, s.definition
from (
    select unnest($1::text[]) collate "C" as name
    union
    select c.series from seriatim.counter c where c.id = any($2::text[])
) named
join seriatim.series s on s.name = named.name
