-- By counter within a range of dates.
select c.no, c.id, c.series, c.tenant, c.partition, c.period, f.number, l.number, s.issued, s.reserved, s.voided
from (
    select e.counter, min(e.seq) as first, max(e.seq) as last,
           count(*) filter (where e.state = 'issued') as issued,
           count(*) filter (where e.state = 'reserved') as reserved,
           count(*) filter (where e.state = 'voided') as voided
    from seriatim.entry e
    where ($1::date is null or e.date >= $1::date) and ($2::date is null or e.date <= $2::date)
    group by e.counter
) s
join seriatim.counter c on c.no = s.counter
join seriatim.entry f on f.counter = s.counter and f.seq = s.first
join seriatim.entry l on l.counter = s.counter and l.seq = s.last
order by c.series, c.tenant, c.partition, c.period
