-- Only the latest is kept here; the ones before are in the definitions chain.
insert into seriatim.closure (series, tenant, period, closed, reason, actor, at, detail)
values ($1::text, $2::text, $3::text, $4::boolean, $5::text, $6::text, $7::bigint, $8::text)
on conflict (series, tenant, period) do update
set closed = excluded.closed, reason = excluded.reason, actor = excluded.actor, at = excluded.at,
    detail = excluded.detail
