-- The primary key refuses a second event at the same place.
with appended as (
    insert into seriatim.event (chain, position, kind, seq, seq_last, key, expires_at, reason, document, actor,
                                on_behalf_of, at, detail, hash)
    select -g.no, i.position, i.kind, i.seq, i.seq_last, i.key, i.expires_at, i.reason, i.document, i.actor,
           i.on_behalf_of, i.at, i.detail, i.hash
    from unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::bigint[],
                $8::text[], $9::bytea[], $10::text[], $11::text[], $12::bigint[], $13::text[], $14::bytea[])
         i (gate, position, kind, seq, seq_last, key, expires_at, reason, document, actor, on_behalf_of, at, detail,
            hash)
    join seriatim.gate g on g.id = i.gate
    returning 1
)
select seriatim.require_rows((select count(*) from appended), cardinality($1::text[]), 'events of gates')::text
