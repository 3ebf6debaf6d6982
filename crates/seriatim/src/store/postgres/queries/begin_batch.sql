-- A role may have lowered what the promises rest on, so each transaction sets it for itself; `remote_apply` is more
-- than `on` and stays. The plans are made once and for good: a plan made while a table was empty must not read all of
-- it when it is large, and is never worth compiling.
-- What the promises rest on may be changed under a running server: it is looked at each time.
select seriatim.fence_problem(), coalesce(w.asked, 0), current_setting('fsync'), current_setting('full_page_writes'),
       set_config('synchronous_commit',
                  case current_setting('synchronous_commit') when 'remote_apply' then 'remote_apply' else 'on' end, true),
       set_config('lock_timeout', $1::text, true),
       set_config('statement_timeout', $2::text, true),
       set_config('idle_in_transaction_session_timeout', $2::text, true),
       set_config('plan_cache_mode', 'force_generic_plan', true),
       set_config('enable_seqscan', 'off', true),
       -- That a standby did not confirm a commit is told by a warning; and names are PostgreSQL's, whoever made others.
       set_config('client_min_messages', 'warning', true),
       set_config('search_path', 'pg_catalog, pg_temp', true),
       set_config('jit', 'off', true)
from (select 1) one
left join seriatim.writer w on w.node = $3::bigint and w.lane = $4::integer
