-- What must be known before anything else is asked.
select current_setting('server_version_num')::integer, current_setting('server_encoding'), pg_is_in_recovery()
