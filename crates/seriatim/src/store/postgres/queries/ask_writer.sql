-- Waits for the batch if it is still under way, and if it is not there, sees to it that it never will be: a plain
-- read would race a commit that is still on its way.
insert into seriatim.writer (node, lane, batch, refused) values ($1::bigint, $2::integer, 0, $3::bigint)
on conflict (node, lane) do update
set refused = case when writer.batch = $3::bigint then writer.refused else greatest(writer.refused, $3::bigint) end
returning batch
