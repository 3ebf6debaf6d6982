-- Leaving us: what stays is plain. Schema `numbers` has a table of counters with their present values, a function
-- `numbers.next` that takes the next one, and copies of all entries, gates and events for your archive; everything else
-- goes, and with it the triggers that filled columns (their columns and unique constraints stay). No keys any more: a
-- retry takes another number. No claims either, but numbers.gate takes each effect once for each subject, so that
-- `insert … on conflict do nothing` goes on from it. To fill a column again, and for whoever inserts:
--   alter table orders alter order_number set default numbers.next('order');
--   grant usage on schema numbers to app; grant select on numbers.series, numbers.entry to app;
--   grant select, insert, update on numbers.counter to app;
do $$ begin
    if to_regclass('seriatim.entry') is null then
        raise exception using errcode = 'SR404', message = 'not_installed: there is nothing of ours in this database';
    elsif to_regclass('seriatim.entries') is null then
        raise exception using errcode = 'SR409', message = 'no_functions: there are our tables, but not our views and functions',
            hint = 'put them in first (`seriatim pg install`), then detach';
    elsif to_regnamespace('numbers') is not null then
        raise exception using errcode = 'SR409', message = 'schema_exists: there is a schema numbers already, and ours would go there',
            hint = 'rename it (`alter schema numbers rename to …`), then detach';
    end if;
end $$;

-- What you built on ours would go with it: your views, your functions with our types, your defaults. Only our own
-- triggers on your tables are meant to go.
do $$
declare
    theirs text;
begin
    with ours (class, oid) as (
        select 'pg_class'::regclass, oid from pg_class where relnamespace = 'seriatim'::regnamespace
        union all select 'pg_proc', oid from pg_proc where pronamespace = 'seriatim'::regnamespace
        union all select 'pg_type', oid from pg_type where typnamespace = 'seriatim'::regnamespace
    ), built (class, oid, what) as (
        select h.class, h.oid, case d.classid
            when 'pg_rewrite'::regclass then pg_describe_object(h.class, h.oid, 0)
            else pg_describe_object(d.classid, d.objid, d.objsubid) end
        from pg_depend d
        join ours o on (o.class, o.oid) = (d.refclassid, d.refobjid)
        left join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
        left join pg_attrdef a on d.classid = 'pg_attrdef'::regclass and a.oid = d.objid
        left join pg_constraint c on d.classid = 'pg_constraint'::regclass and c.oid = d.objid
        left join pg_policy p on d.classid = 'pg_policy'::regclass and p.oid = d.objid,
        lateral (select case d.classid when 'pg_proc'::regclass then 'pg_proc' else 'pg_class' end::regclass,
            coalesce(r.ev_class, a.adrelid, nullif(c.conrelid, 0), p.polrelid, d.objid)) h (class, oid)
        where d.deptype in ('n', 'a') and d.classid in ('pg_rewrite'::regclass, 'pg_attrdef'::regclass,
            'pg_constraint'::regclass, 'pg_policy'::regclass, 'pg_class'::regclass, 'pg_proc'::regclass)
    )
    select string_agg(distinct b.what, ', ' order by b.what) into theirs
        from built b where not exists (select from ours o where (o.class, o.oid) = (b.class, b.oid));
    if theirs is not null then
        raise exception using errcode = 'SR409', message = format('in_use: yours is built on what would go: %s', theirs),
            hint = 'drop it, or build it on something else, then detach';
    end if;
end $$;

lock table seriatim.counter, seriatim.entry, seriatim.gate, seriatim.event in access exclusive mode;
create schema numbers;
create table numbers.entry as select * from seriatim.entries;
create table numbers.gate as select * from seriatim.gates;
alter table numbers.gate add primary key (tenant, effect, subject);
create table numbers.event as select * from seriatim.events;
create table numbers.counter as select series, tenant, partition, period, last_seq from seriatim.counter;
alter table numbers.counter add primary key (series, tenant, period, partition);
create table numbers.series as
    select name, zone, period, fiscal_from, start, seq_max, width, template, params, kinds, splits, olds from seriatim.series_plan
    where replaced_by is null;
alter table numbers.series add primary key (name);
alter table numbers.entry add unique (series, tenant, number);

create function numbers.next(series text, tenant text default 'default', params jsonb default '{}', date date default null)
returns text language plpgsql as $$
declare
    s numbers.series;
    chosen date;
    fy int;
    period text;
    vals text[];
    partition text;
    seq bigint;
    made text;
begin
    select * into strict s from numbers.series x where x.name = $1;
    chosen := coalesce($4, (clock_timestamp() at time zone s.zone)::date);
    fy := extract(year from chosen)::int
        - (extract(month from chosen)::int * 100 + extract(day from chosen)::int < s.fiscal_from)::int;
    period := coalesce(to_char(chosen::timestamp, s.period), fy || '-' || lpad(((fy + 1) % 100)::text, 2, '0'));
    -- Digits are padded to their width; nothing else is checked.
    select array_agg(v order by i), coalesce(string_agg(p || '=' || v, ',' order by i) filter (where split), '')
        into vals, partition
        from unnest(s.params, s.kinds, s.splits) with ordinality u (p, kind, split, i), lateral (
            select case when kind like 'digits:%' and length($3 ->> p) < substring(kind from ':([0-9]+)')::int
                then lpad($3 ->> p, substring(kind from ':([0-9]+)')::int, '0') else $3 ->> p end) given (v);
    loop
        insert into numbers.counter as c (series, tenant, period, partition, last_seq)
            values ($1, $2, period, partition, s.start)
            on conflict on constraint counter_pkey do update set last_seq = c.last_seq + 1
            returning last_seq into seq;
        if seq > s.seq_max then
            raise exception 'the counter % of series % has taken its last number', period, $1;
        end if;
        made := format(to_char(chosen::timestamp, s.template), variadic array[
            lpad(seq::text, greatest(s.width, length(seq::text)), '0'), $2,
            lpad((fy % 100)::text, 2, '0') || lpad(((fy + 1) % 100)::text, 2, '0'),
            fy || '-' || lpad(((fy + 1) % 100)::text, 2, '0'), fy::text, (fy + 1)::text] || vals);
        -- A series that this one replaced may have printed it.
        exit when not exists (select from numbers.entry e where e.series = any (s.olds) and e.tenant = $2 and e.number = made);
    end loop;
    return made;
end $$;

drop schema seriatim cascade;
