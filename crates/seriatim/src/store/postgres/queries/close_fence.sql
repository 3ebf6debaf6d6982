-- Somebody knows of a batch that was acknowledged and is not here; or an operator has decided.
update seriatim.fence f
set open = false, reason = $1::text, changed_at = (extract(epoch from clock_timestamp()) * 1000000)::bigint
where f.open
