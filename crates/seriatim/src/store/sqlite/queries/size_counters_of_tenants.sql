-- As size_counters, for a few tenants among many.
select c.no, c.issued + c.reserved + c.voided
from json_each(:series) s
cross join json_each(:tenants) t
cross join counter c on c.series = s.value and c.tenant = t.value
where :period is null or c.period = :period
limit :limit
