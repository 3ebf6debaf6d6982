-- In the commit of the batch itself, so that both happened or neither.
insert into writer (node, lane, batch) values (?1, ?2, ?3)
on conflict (node, lane) do update set batch = excluded.batch
