-- Newest first, from the index of open reservations: overdue ones are swept all the time.
select c.no, c.id, c.series, c.tenant, c.partition, c.period, e.no, e.seq, e.number, e.state, e.origin, e.date, e.key,
       e.params, e.reference, e.document_sha256, e.taken_at, e.issued_at, e.expires_at, e.voided_at, e.reason_code,
       e.reason, e.replaces, e.replacement, e.position, e.hash, e.document
from (
    -- A limit must not tempt the planner into reading all that is not reserved.
    select * from seriatim.entry where state = 'reserved' and expires_at <= coalesce($7::bigint, 9223372036854775807) offset 0
) e
join seriatim.counter c on c.no = e.counter
where e.no < $9::bigint
  and ($1::text[] is null or c.series = any($1::text[]))
  and ($2::text[] is null or c.tenant = any($2::text[]))
  and ($3::text is null or c.period = $3::text)
  and ($4::text is null or e.state = $4::text)
  and ($5::date is null or e.date >= $5::date)
  and ($6::date is null or e.date <= $6::date)
  and ($7::bigint is null or e.expires_at <= $7::bigint)
order by e.no desc
limit $8::bigint
