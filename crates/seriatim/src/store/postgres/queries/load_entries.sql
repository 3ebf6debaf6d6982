-- Entries by the id of their counter and their seq.
select c.no, c.id, c.series, c.tenant, c.partition, c.period, e.no, e.seq, e.number, e.state, e.origin, e.date, e.key,
       e.params, e.reference, e.document_sha256, e.taken_at, e.issued_at, e.expires_at, e.voided_at, e.reason_code,
       e.reason, e.replaces, e.replacement, e.position, e.hash, e.document
from unnest($1::text[], $2::bigint[]) i (counter, seq)
join seriatim.counter c on c.id = i.counter
join seriatim.entry e on e.counter = c.no and e.seq = i.seq
