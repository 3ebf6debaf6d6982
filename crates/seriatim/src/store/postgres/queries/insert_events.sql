-- The primary key refuses a second event at the same place; none is ever updated or, but for a wipe, deleted.
insert into seriatim.event (chain, position, kind, seq, seq_last, number, date, key, params, reference, expires_at,
                            link, reason_code, reason, document, actor, on_behalf_of, at, detail, hash)
select * from unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::date[],
                     $8::text[], $9::text[], $10::text[], $11::bigint[], $12::text[], $13::text[], $14::text[],
                     $15::bytea[], $16::text[], $17::text[], $18::bigint[], $19::text[], $20::bytea[])
