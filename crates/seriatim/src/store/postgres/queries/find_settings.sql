-- What the promises rest on. Who streams a base backup is no standby. Who may not see the standbys sees null.
select current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'),
       current_setting('synchronous_standby_names'), pg_is_in_recovery(), current_setting('server_version'),
       (select count(*) from pg_stat_replication r where r.state is distinct from 'backup'), seriatim.fence_problem()
