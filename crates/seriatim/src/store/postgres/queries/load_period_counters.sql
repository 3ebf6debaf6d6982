-- Closing a period looks at every counter in it; the series is locked.
select c.no, c.id, c.series, c.tenant, c.partition, c.period, c.line, c.first_seq, c.last_seq, c.last_date,
       c.issued, c.reserved, c.voided, c.missing, c.length, c.head
from unnest($1::text[], $2::text[], $3::text[]) i (series, tenant, period)
join seriatim.counter c on c.series = i.series and c.tenant = i.tenant and c.period = i.period
order by c.series, c.tenant, c.period, c.partition
