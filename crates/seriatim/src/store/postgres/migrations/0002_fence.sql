-- What both doors ask before they take a number, and how a statement says that it did not find what it should.

-- Null while numbers may be taken: this is the cluster and the timeline that the fence was opened on. The timeline
-- is read from the log's file name: pg_control_checkpoint() still tells the old one after a promotion.
create function seriatim.fence_problem() returns text language plpgsql volatile as $$
declare
    fence record;
    system_now text;
    timeline_now text;
begin
    if pg_catalog.pg_is_in_recovery() then
        return 'this server is a standby, which only reads';
    end if;
    select f.system_id, f.timeline, f.open, f.reason into fence from seriatim.fence f;
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
    return null;
end $$;

-- Ends the transaction unless a statement changed as many rows as it must have: its caller does not wait for one
-- statement's answer before it sends the next, and the commit.
create function seriatim.require_rows(changed bigint, wanted bigint, what text) returns void language plpgsql as $$
begin
    if changed <> wanted then
        raise exception using errcode = 'SR001',
            message = what || ': ' || changed || ' rows changed where ' || wanted || ' must';
    end if;
end $$;

-- The same, for the row by which a lane knows its batches: without it the lane's last batch is gone, or somebody
-- asked about this one meanwhile and was told that it did not happen.
create function seriatim.require_writer(changed bigint) returns void language plpgsql as $$
begin
    if changed <> 1 then
        raise exception using errcode = 'SR002', message = 'the row of this lane is not where the lane left it';
    end if;
end $$;

insert into seriatim.fence (system_id, timeline, open, changed_at)
select s.system_identifier::text,
       pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8),
       true,
       (extract(epoch from pg_catalog.clock_timestamp()) * 1000000)::bigint
from pg_catalog.pg_control_system() s;

revoke all on function seriatim.fence_problem() from public;
revoke all on function seriatim.require_rows(bigint, bigint, text) from public;
revoke all on function seriatim.require_writer(bigint) from public;
