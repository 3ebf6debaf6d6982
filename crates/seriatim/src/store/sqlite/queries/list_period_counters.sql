-- Closing a period looks at every counter in it.
select c.no, c.id, c.series, c.tenant, c.partition, c.period, c.line, c.first_seq, c.last_seq, c.last_date,
       c.issued, c.reserved, c.voided, c.missing, c.length, c.head
from counter c
where c.series = ?1 and c.tenant = ?2 and c.period = ?3
order by c.partition
