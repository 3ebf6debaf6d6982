-- A batch that decided nothing still writes and commits: with synchronous replication a mere read can confirm what a
-- failover then forgets. Which batch was last stays as it is.
with put as (
    insert into seriatim.writer (node, lane, batch)
    select $1::bigint, $2::integer, 0
    where $3::bigint = 0
       or exists (select 1 from seriatim.writer w where w.node = $1::bigint and w.lane = $2::integer)
    on conflict (node, lane) do update set batch = writer.batch
    where writer.batch >= $3::bigint
    returning 1
)
select seriatim.require_writer((select count(*) from put))::text
