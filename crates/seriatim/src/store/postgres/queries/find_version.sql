-- How far the migrations have come.
select max(v.version) from seriatim.schema_version v
