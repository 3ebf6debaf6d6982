-- What keys stand for, with their entries: in one statement, so that a reissue is seen whole or not at all. Each
-- is looked up by the whole of its index, whatever was known of the tables when this was planned.
select k.place, b.seq, b.count, c.no, c.id, c.series, c.tenant, c.partition, c.period, e.no, e.seq, e.number, e.state, e.origin, e.date, e.key,
       e.params, e.reference, e.document_sha256, e.taken_at, e.issued_at, e.expires_at, e.voided_at, e.reason_code,
       e.reason, e.replaces, e.replacement, e.position, e.hash, e.document
from unnest($1::text[], $2::text[], $3::text[]) with ordinality k (series, tenant, key, place)
join seriatim.line l on l.series = k.series and l.tenant = k.tenant
cross join lateral (
    select t.counter, t.seq, t.count from seriatim.key t where t.line = l.no and t.key = k.key limit 1
) b
join seriatim.counter c on c.no = b.counter
cross join lateral (
    select t.*
    from seriatim.entry t
    where t.counter = b.counter and t.seq >= b.seq and t.seq <= b.seq + (b.count - 1)
    order by t.seq
    offset 0
) e
order by k.place, e.seq
