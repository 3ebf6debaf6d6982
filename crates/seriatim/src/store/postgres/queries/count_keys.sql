-- Counted where the keys are kept; and whether the counter's line is that of its series and tenant.
select count(k.key),
       c.line is not distinct from (select l.no from seriatim.line l where l.series = c.series and l.tenant = c.tenant)
from seriatim.counter c
left join seriatim.key k on k.counter = c.no
where c.id = $1::text
group by c.no
