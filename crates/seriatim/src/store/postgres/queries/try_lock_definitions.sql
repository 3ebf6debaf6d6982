-- As lock_definitions, for a lane that waits for nobody.
select pg_try_advisory_xact_lock(1397053780, 0)
