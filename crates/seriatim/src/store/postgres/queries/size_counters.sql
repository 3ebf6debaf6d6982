-- How many entries a search would have to sort; cut off where sorting stops being cheap.
select c.no, c.issued + c.reserved + c.voided
from seriatim.counter c
where ($1::text[] is null or c.series = any($1::text[]))
  and ($2::text[] is null or c.tenant = any($2::text[]))
  and ($3::text is null or c.period = $3::text)
limit $4::bigint
