-- In the transaction of the migration itself.
insert into seriatim.schema_version (version, applied_at)
values ($1::integer, (extract(epoch from clock_timestamp()) * 1000000)::bigint)
