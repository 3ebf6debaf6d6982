-- Newest period first. The list of series is always given, so that the index by name is used.
select c.no, c.id, c.series, c.tenant, c.partition, c.period, c.line, c.first_seq, c.last_seq, c.last_date,
       c.issued, c.reserved, c.voided, c.missing, c.length, c.head
from json_each(:series) s
cross join counter c on c.series = s.value
where :period is null or c.period = :period
order by c.series, c.tenant, c.period desc, c.partition
limit :limit offset :skip
