-- Runs by seq, for the report of gaps.
select m.first, m.last, m.reason
from seriatim.counter c
join seriatim.missing m on m.counter = c.no
where c.id = $1::text and m.first > $2::bigint
order by m.first
limit $3::bigint
