-- Newest period first; a statement of its own, so that a few tenants among a million are found by the index.
select c.no, c.id, c.series, c.tenant, c.partition, c.period, c.line, c.first_seq, c.last_seq, c.last_date,
       c.issued, c.reserved, c.voided, c.missing, c.length, c.head
from json_each(:series) s
cross join json_each(:tenants) t
cross join counter c on c.series = s.value and c.tenant = t.value
where :period is null or c.period = :period
order by c.series, c.tenant, c.period desc, c.partition
limit :limit offset :skip
