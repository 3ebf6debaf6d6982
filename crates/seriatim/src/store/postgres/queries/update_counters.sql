-- What a counter is called never changes; where it stands does, with every batch, from where it was seen to stand. One
-- that does not account for each of its seqs is not written (promise P2).
with changed as (
    update seriatim.counter c
    set first_seq = i.first_seq, last_seq = i.last_seq, last_date = i.last_date, issued = i.issued,
        reserved = i.reserved, voided = i.voided, missing = i.missing, length = i.length, head = i.head
    from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::date[], $5::bigint[], $6::bigint[], $7::bigint[],
                $8::bigint[], $9::bigint[], $10::bytea[], $11::bigint[])
         i (no, first_seq, last_seq, last_date, issued, reserved, voided, missing, length, head, length_before)
    where c.no = i.no and c.length = i.length_before
      and i.issued + i.reserved + i.voided + i.missing = i.last_seq - i.first_seq + 1
    returning 1
)
select seriatim.require_rows((select count(*) from changed), cardinality($1::bigint[]), 'counters')::text
