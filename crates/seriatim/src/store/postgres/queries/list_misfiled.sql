-- Entries that cannot be found by their number.
select e.seq, e.number
from seriatim.counter c
join seriatim.entry e on e.counter = c.no
where c.id = $1::text and e.seq between $2::bigint and $3::bigint and e.line <> c.line
