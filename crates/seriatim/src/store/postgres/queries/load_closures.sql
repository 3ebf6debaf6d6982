-- Of the periods that were named, and of the counters that are named by id only.
select o.series, o.tenant, o.period, o.closed, o.reason, o.actor, o.at, o.detail
from (
    select i.series, i.tenant, i.period from unnest($1::text[], $2::text[], $3::text[]) i (series, tenant, period)
    union
    select c.series, c.tenant, c.period from seriatim.counter c where c.id = any($4::text[])
) i
join seriatim.closure o on o.series = i.series and o.tenant = i.tenant and o.period = i.period
