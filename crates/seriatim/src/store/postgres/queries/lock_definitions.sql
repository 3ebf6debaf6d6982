-- Whoever appends to the definitions chain.
select pg_advisory_xact_lock(1397053780, 0)::text
