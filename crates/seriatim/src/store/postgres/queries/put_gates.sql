-- Before their events, which need the numbers of new gates. A gate that went on without this batch stays as it is, and
-- the batch ends.
with put as (
    insert into seriatim.gate as g (id, tenant, effect, subject, state, token, attempts, policy, due_at, holder, key,
                                    task, result, last_error, opened_at, length, head)
    select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],
                         $8::text[], $9::bigint[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[],
                         $15::bigint[], $16::bigint[], $17::bytea[])
    on conflict (id) do update
    set state = excluded.state, token = excluded.token, attempts = excluded.attempts, due_at = excluded.due_at,
        holder = excluded.holder, key = excluded.key, task = excluded.task, result = excluded.result, last_error = excluded.last_error,
        length = excluded.length, head = excluded.head
    where g.length <= excluded.length and g.token <= excluded.token
    returning 1
)
select seriatim.require_rows((select count(*) from put), cardinality($1::text[]), 'gates')::text
