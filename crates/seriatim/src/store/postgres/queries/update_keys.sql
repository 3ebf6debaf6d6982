-- A reissue: the key moves to the replacement.
with changed as (
    update seriatim.key k
    set counter = i.counter, seq = i.seq, count = i.count
    from unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::integer[])
         i (line, key, counter, seq, count)
    where k.line = i.line and k.key = i.key
    returning 1
)
select seriatim.require_rows((select count(*) from changed), cardinality($1::bigint[]), 'keys')::text
