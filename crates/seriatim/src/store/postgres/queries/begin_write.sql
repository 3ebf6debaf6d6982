-- As begin_batch, for what the store writes for itself. What ends the statement ends the wait for a standby too.
select set_config('synchronous_commit',
                  case current_setting('synchronous_commit') when 'remote_apply' then 'remote_apply' else 'on' end, true),
       set_config('lock_timeout', $1::text, true),
       set_config('statement_timeout', $1::text, true),
       set_config('idle_in_transaction_session_timeout', $1::text, true),
       set_config('client_min_messages', 'warning', true),
       set_config('search_path', 'pg_catalog, pg_temp', true)
