-- Number, date, key and params are fixed when a number is taken; only what can change is written.
with changed as (
    update seriatim.entry e
    set state = i.state, document = i.document, document_sha256 = i.document_sha256, issued_at = i.issued_at,
        expires_at = i.expires_at, voided_at = i.voided_at, reason_code = i.reason_code, reason = i.reason,
        replaces = i.replaces, replacement = i.replacement, position = i.position, hash = i.hash
    from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::bytea[], $6::bigint[], $7::bigint[],
                $8::bigint[], $9::text[], $10::text[], $11::text[], $12::text[], $13::bigint[], $14::bytea[])
         i (counter, seq, state, document, document_sha256, issued_at, expires_at, voided_at, reason_code, reason,
            replaces, replacement, position, hash)
    where e.counter = i.counter and e.seq = i.seq
    returning 1
)
select seriatim.require_rows((select count(*) from changed), cardinality($1::bigint[]), 'entries')::text
