-- Runs that were filled or split.
with gone as (
    delete from seriatim.missing m
    using unnest($1::bigint[], $2::bigint[], $3::bigint[]) i (counter, first, last)
    where m.counter = i.counter and m.first = i.first and m.last = i.last
    returning 1
)
select seriatim.require_rows((select count(*) from gone), cardinality($1::bigint[]), 'missing seqs')::text
