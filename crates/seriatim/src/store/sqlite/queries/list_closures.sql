-- Closed or reopened, by series, tenant and period.
select series, tenant, period, closed, reason, actor, at, detail from closure order by series, tenant, period
