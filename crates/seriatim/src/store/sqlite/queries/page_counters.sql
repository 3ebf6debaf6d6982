-- Of one series, newest period first: the order of the index by name, so that nothing is sorted.
select c.no, c.id, c.series, c.tenant, c.partition, c.period, c.line, c.first_seq, c.last_seq, c.last_date,
       c.issued, c.reserved, c.voided, c.missing, c.length, c.head
from counter c
where c.series = :series and (:period is null or c.period = :period)
order by c.tenant, c.period desc, c.partition
limit :limit offset :skip
