-- `no` is left to PostgreSQL: the next one is the order of arrival.
insert into seriatim.entry (counter, seq, line, number, state, origin, date, key, params, reference, document,
                            document_sha256, taken_at, issued_at, expires_at, voided_at, reason_code, reason,
                            replaces, replacement, position, hash)
select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::date[],
                     $8::text[], $9::text[], $10::text[], $11::text[], $12::bytea[], $13::bigint[],
                     $14::bigint[], $15::bigint[], $16::bigint[], $17::text[], $18::text[], $19::text[],
                     $20::text[], $21::bigint[], $22::bytea[])
