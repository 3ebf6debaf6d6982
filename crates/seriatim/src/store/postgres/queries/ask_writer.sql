-- Waits for the batch if it is still under way, and if it is not there, sees to it that it never will be: a plain
-- read would race a commit that is still on its way.
insert into seriatim.writer (node, lane, batch, asked) values ($1::bigint, $2::integer, 0, 1)
on conflict (node, lane) do update
set asked = case when writer.batch = $3::bigint then writer.asked else writer.asked + 1 end
returning batch
