-- Several nodes may start at once.
select pg_advisory_xact_lock(1397053778, 0)::text
