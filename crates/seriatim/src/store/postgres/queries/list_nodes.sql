-- Who lived when the last of them was seen, and where each has confirmed its last batches.
select n.id, n.name, n.seen_at, n.confirmed,
       n.seen_at >= max(n.seen_at) over () - 30000000 as lived
from seriatim.node n
order by n.name, n.id
