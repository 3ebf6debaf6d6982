-- Also of the counters that are named by id only: their rules will be asked for.
select s.name, s.version, s.definition
from seriatim.series s
where s.name = any($1::text[])
   or s.name in (select c.series from seriatim.counter c where c.id = any($2::text[]))
