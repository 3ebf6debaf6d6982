-- Newest period first.
select c.no, c.id, c.series, c.tenant, c.partition, c.period, c.line, c.first_seq, c.last_seq, c.last_date,
       c.issued, c.reserved, c.voided, c.missing, c.length, c.head
from seriatim.counter c
where ($1::text[] is null or c.series = any($1::text[]))
  and ($2::text[] is null or c.tenant = any($2::text[]))
  and ($3::text is null or c.period = $3::text)
order by c.series, c.tenant, c.period desc, c.partition
limit $4::bigint offset $5::bigint
