-- A node of the service, and that it lives: whether it has seen its last batches after a failover is asked of it.
insert into seriatim.node (id, name, started_at, seen_at)
values ($1::bigint, $2::text, (extract(epoch from clock_timestamp()) * 1000000)::bigint,
        (extract(epoch from clock_timestamp()) * 1000000)::bigint)
on conflict (id) do update set seen_at = excluded.seen_at
