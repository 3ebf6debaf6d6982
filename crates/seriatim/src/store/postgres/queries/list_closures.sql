-- Closed or reopened, by series, tenant and period.
select o.series, o.tenant, o.period, o.closed, o.reason, o.actor, o.at, o.detail
from seriatim.closure o
order by o.series, o.tenant, o.period
