-- The fence stands on a database too: a dump that is restored beside its original, or in its place, is another one of
-- the same cluster. And it knows when an operator opened it last: that it moved by itself decides nothing.
alter table seriatim.fence add column database_id oid;
alter table seriatim.fence add column decided_at bigint not null default 0;
update seriatim.fence
    set database_id = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database());

create or replace function seriatim.fence_problem() returns text language plpgsql volatile as $$
declare
    fence record;
    system_now text;
    timeline_now text;
    database_now oid;
begin
    if pg_catalog.pg_is_in_recovery() then
        return 'this server is a standby, which only reads';
    end if;
    select f.system_id, f.timeline, f.database_id, f.open, f.reason into fence from seriatim.fence f;
    if not found then
        return 'the row of the fence is gone';
    end if;
    if not fence.open then
        return coalesce(fence.reason, 'it was closed');
    end if;
    select s.system_identifier::text into system_now from pg_catalog.pg_control_system() s;
    timeline_now := pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8);
    if system_now <> fence.system_id then
        return 'this is cluster ' || system_now || ', and numbers were taken on cluster ' || fence.system_id
            || ': a copy, or a restored backup';
    end if;
    if timeline_now <> fence.timeline then
        return 'this is timeline ' || timeline_now || ', and numbers were taken on timeline ' || fence.timeline
            || ': a failover, or a restore to an earlier moment';
    end if;
    select d.oid into database_now from pg_catalog.pg_database d where d.datname = pg_catalog.current_database();
    if database_now <> fence.database_id then
        return 'this is database ' || database_now || ', and numbers were taken in database ' || fence.database_id
            || ' of the same cluster: a copy, or a restored dump';
    end if;
    return null;
end $$;
