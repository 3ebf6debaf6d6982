-- What keys stand for, with their entries: in one statement, so that a reissue is seen whole or not at all.
select k.place, b.seq, b.count, c.no, c.id, c.series, c.tenant, c.partition, c.period, e.no, e.seq, e.number, e.state, e.origin, e.date, e.key,
       e.params, e.reference, e.document_sha256, e.taken_at, e.issued_at, e.expires_at, e.voided_at, e.reason_code,
       e.reason, e.replaces, e.replacement, e.position, e.hash, e.document
from unnest($1::text[], $2::text[], $3::text[]) with ordinality k (series, tenant, key, place)
join seriatim.line l on l.series = k.series and l.tenant = k.tenant
join seriatim.key b on b.line = l.no and b.key = k.key
join seriatim.counter c on c.no = b.counter
join seriatim.entry e on e.counter = b.counter and e.seq >= b.seq and e.seq <= b.seq + (b.count - 1)
order by k.place, e.seq
