-- In the commit of the batch itself, so that both happened or neither. The row must be where this lane left it: a
-- server that was set back lacks the lane's last batch. And nobody may have asked since this batch began: he was told
-- that it did not happen.
with put as (
    insert into seriatim.writer (node, lane, batch)
    select $1::bigint, $2::integer, $3::bigint
    where $4::bigint = 0
       or exists (select 1 from seriatim.writer w where w.node = $1::bigint and w.lane = $2::integer)
    on conflict (node, lane) do update set batch = excluded.batch
    where writer.asked = $5::bigint and writer.batch >= $4::bigint
    returning 1
)
select seriatim.require_writer((select count(*) from put))::text
