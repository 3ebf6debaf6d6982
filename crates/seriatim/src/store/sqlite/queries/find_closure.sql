-- Asked for each batch, so it must be one search.
select series, tenant, period, closed, reason, actor, at, detail from closure where series = ?1 and tenant = ?2 and period = ?3
