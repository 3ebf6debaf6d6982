-- This node has found its last acknowledged batches here.
insert into seriatim.node (id, name, started_at, seen_at, confirmed)
values ($1::bigint, $2::text, 0, 0, $3::text)
on conflict (id) do update set confirmed = excluded.confirmed
