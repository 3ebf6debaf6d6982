-- The walk of a verification. An entry that was put into another line, where its number is unique by itself, is not found.
select c.no, c.id, c.series, c.tenant, c.partition, c.period, e.no, e.seq, e.number, e.state, e.origin, e.date, e.key,
       e.params, e.reference, e.document_sha256, e.taken_at, e.issued_at, e.expires_at, e.voided_at, e.reason_code,
       e.reason, e.replaces, e.replacement, e.position, e.hash, e.document
from seriatim.counter c
join seriatim.entry e on e.counter = c.no and e.line = c.line
where c.id = $1::text and e.seq > $2::bigint
order by e.seq
limit $3::bigint
