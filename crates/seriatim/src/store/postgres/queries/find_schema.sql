-- Whether the schema is there, whether it is ours, and whether there is anything in it.
select n.oid is not null,
       to_regclass('seriatim.schema_version') is not null and to_regclass('seriatim.counter') is not null,
       exists (select 1 from pg_class c where c.relnamespace = n.oid)
from (select 1) one
left join pg_namespace n on n.nspname = 'seriatim'
