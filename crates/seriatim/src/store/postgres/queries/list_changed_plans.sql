-- Definitions that are not compiled as the functions here would compile them, and plans of no definition. In one statement,
-- so that who defines a series meanwhile is seen wholly or not at all.
select coalesce(s.name, p.name)
from (
    select s.name, to_jsonb(seriatim.plan_of(s.name, s.version, s.definition))
        || jsonb_build_object('fence', (select seriatim.open_on(f) from seriatim.fence f)) plan
    from seriatim.series s
) s
full join seriatim.series_plan p on p.name = s.name
where s.plan is distinct from to_jsonb(p)
order by 1
