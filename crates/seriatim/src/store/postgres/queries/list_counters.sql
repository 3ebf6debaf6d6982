-- All heads at one moment, in the order of their names.
select c.no, c.id, c.series, c.tenant, c.partition, c.period, c.line, c.first_seq, c.last_seq, c.last_date,
       c.issued, c.reserved, c.voided, c.missing, c.length, c.head
from seriatim.counter c
order by c.series, c.tenant, c.partition, c.period
