-- Only the latest is kept here; the ones before are in the definitions chain.
insert into closure (series, tenant, period, closed, reason, actor, at, detail)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
on conflict (series, tenant, period) do update
set closed = excluded.closed, reason = excluded.reason, actor = excluded.actor, at = excluded.at,
    detail = excluded.detail
