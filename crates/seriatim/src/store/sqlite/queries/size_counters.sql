-- How many entries a search would have to sort; cut off where sorting stops being cheap.
select c.no, c.issued + c.reserved + c.voided
from json_each(:series) s
cross join counter c on c.series = s.value
where :period is null or c.period = :period
limit :limit
