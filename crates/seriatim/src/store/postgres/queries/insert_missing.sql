-- The reason of a run that is split goes with both halves.
insert into seriatim.missing (counter, first, last, reason)
select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[])
