-- The run of missing seqs that holds a seq, if one does.
select c.id, m.first, m.last, m.reason
from unnest($1::text[], $2::bigint[]) i (counter, seq)
join seriatim.counter c on c.id = i.counter
join lateral (
    select r.first, r.last, r.reason
    from seriatim.missing r
    where r.counter = c.no and r.first <= i.seq
    order by r.first desc
    limit 1
) m on m.last >= i.seq
