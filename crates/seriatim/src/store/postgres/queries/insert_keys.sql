-- The primary key tells who bound a key first; it is the only place where two counters meet. In one order, so that
-- two batches with the same keys do not wait in a circle.
insert into seriatim.key (line, key, counter, seq, count)
select i.line, i.key, i.counter, i.seq, i.count
from unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::integer[]) i (line, key, counter, seq, count)
order by i.line, i.key collate "C"
