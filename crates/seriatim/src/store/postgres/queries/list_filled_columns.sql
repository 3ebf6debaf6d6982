-- Which columns fill themselves: table, column and series are in the arguments of their triggers.
select format('%s.%I from %s', t.tgrelid::regclass, a.given ->> 'column', a.given ->> 'series')
from pg_trigger t,
     lateral (select convert_from(rtrim(t.tgargs, '\x00'::bytea), 'UTF8')::jsonb) a (given)
where t.tgfoid = to_regproc('seriatim.fill_number') and t.tgparentid = 0
order by 1
