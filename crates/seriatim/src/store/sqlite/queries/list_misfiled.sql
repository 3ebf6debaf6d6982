-- Entries that cannot be found by their number, or whose first event cannot be found from them.
select e.seq, e.number, e.line = c.line,
       coalesce((select v.seq = e.seq and v.kind in ('issued', 'reserved', 'adopted') from event v
                 where v.chain = e.counter and v.position = e.taken_position), 0)
from counter c
join entry e on e.counter = c.no
where c.id = ?1 and e.seq between ?2 and ?3
