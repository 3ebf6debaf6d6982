-- The SQL door, 8 of 9: a column of the user's own table that fills itself.
--
-- number_column runs with the rights of its caller, who must own the table; the triggers run with those of the owner of
-- this schema, so a role that may insert needs no right here. The triggers' names begin with `~`, which sorts after the
-- letters: they fire last, when the row is as it will be.

-- What a row has in the columns that count. Nothing of the caller's own runs here, with the owner's rights: `format` prints a
-- value as its type prints itself, where a cast, and so to_jsonb, would call a function that anybody may have made. And every
-- column is looked for before it is read: `($1).to_jsonb` of a row that has no such column is a call of to_jsonb.
create or replace function seriatim.read_row(
    of_row anyelement, of_table oid, given jsonb,
    out number text, out key text, out tenant text, out date date, out params jsonb
) language plpgsql as $$
declare
    cell text := $q$case when ($1).%1$I is not null then format('%%s', ($1).%1$I) end$q$;
    day text := 'null';
    used record;
begin
    -- Nearly every type is told at a glance; unfit takes as long as all the rest.
    for used in
        select u.name, u.use, a.attname is not null as is_there
        from (select given ->> 'column', 'number' union all select given ->> 'key', 'key' union all select given ->> 'tenant', 'tenant'
                union all select given ->> 'date', 'date' union all select p.value, 'param' from jsonb_each_text(given -> 'params') p) u (name, use)
            left join pg_attribute a on a.attrelid = of_table and a.attname = u.name and a.attnum > 0 and not a.attisdropped
            left join pg_type t on t.oid = a.atttypid
        where u.name is not null and case u.use
            when 'number' then t.oid in ('text'::regtype, 'varchar'::regtype)
            when 'date' then t.oid in ('date'::regtype, 'timestamptz'::regtype)
            else t.typtype = 'e' or coalesce(nullif(t.typbasetype, 0), t.oid) in ('text'::regtype, 'varchar'::regtype,
                'smallint'::regtype, 'integer'::regtype, 'bigint'::regtype, 'uuid'::regtype) end is not true
    loop
        if not used.is_there then
            perform seriatim.refuse('404', 'unknown_column', format('%s has no such column any more: %s', of_table::regclass, used.name),
                hint => 'name it as before; or drop the triggers ~seriatim_… of the table and call number_column again');
        elsif seriatim.unfit(of_table, used.name, used.use) is not null then
            perform seriatim.refuse('422', 'column_unfit', format('%s of %s %s', used.name, of_table::regclass,
                seriatim.unfit(of_table, used.name, used.use)));
        end if;
    end loop;
    if given ? 'date' then
        select format(case a.atttypid when 'date'::regtype then '($1).%I' else '(($1).%I at time zone $2)::date' end, a.attname)
            into day from pg_attribute a where a.attrelid = of_table and a.attname = given ->> 'date';
    end if;
    execute format('select %s, %s, %s, %s, %s', format(cell, given ->> 'column'),
            case when given ? 'key' then format(cell, given ->> 'key') else 'null' end,
            case when given ? 'tenant' then format(cell, given ->> 'tenant') else '''default''' end, day,
            (select format('jsonb_build_object(%s)', string_agg(format('%L, ', p.key) || format(cell, p.value), ', '))
                from jsonb_each_text(given -> 'params') p))
        into number, key, tenant, date, params
        using of_row, (select p.zone from seriatim.series_plan p where p.name = given ->> 'series');
end $$;

-- The name that a table goes by in the journal: the one it had when its column was made to fill itself, or that of the
-- whole to which it is a partition. Columns from before the triggers said so have the one of the day.
create or replace function seriatim.reference_of(given jsonb, of_table oid) returns text language plpgsql stable
    set quote_all_identifiers = off as $$
begin
    return coalesce(given ->> 'reference', (
        select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.oid = coalesce(pg_partition_root(of_table), of_table)));
end $$;

-- What a trigger of ours was given.
create or replace function seriatim.given_to(arguments bytea) returns jsonb language sql stable
return convert_from(rtrim(arguments, '\x00'::bytea), getdatabaseencoding())::jsonb;

-- The table that fills a column and goes by that name.
create or replace function seriatim.table_of(of_reference text) returns regclass language sql stable
begin atomic
    select t.tgrelid::regclass from pg_trigger t
    where t.tgfoid = to_regproc('seriatim.fill_number') and t.tgparentid = 0
        and seriatim.reference_of(seriatim.given_to(t.tgargs), t.tgrelid) = of_reference
    limit 1;
end;

drop function if exists seriatim.check_replayed(seriatim.taken, oid);

-- A key that stands for a row of another table tells nothing of this one's. What it stands for is looked at once more when
-- it is in its row.
create or replace function seriatim.check_replayed(taken seriatim.taken, of_reference text) returns void language plpgsql as $$
declare
    other regclass;
begin
    perform set_config('seriatim.replayed', 'on', true);
    select seriatim.table_of(e.reference) into other from seriatim.entry e
        where e.counter = taken.counter and e.seq = taken.seq and e.reference <> of_reference;
    if other is not null then
        perform seriatim.refuse('422', 'key_reused', format('this key stands for %s of %s already', taken.number, other), '/key',
            'give each table a series of its own, or a key column whose values no other table has');
    end if;
end $$;

-- Takes the number of a row that has none. Arguments: column, series, key, tenant and date column, params, as JSON.
create or replace function seriatim.fill_number() returns trigger language plpgsql security definer
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan set lock_timeout = '3s' as $$
declare
    given jsonb := tg_argv[0];
    of_row record := seriatim.read_row(new, tg_relid, given);
    reference text := coalesce(given ->> 'reference', seriatim.reference_of(given, tg_relid));
    taken seriatim.taken;
begin
    taken := seriatim.take('issue', given ->> 'series', of_row.key, of_row.tenant, of_row.params, of_row.date, null,
        reference);
    if taken.replayed then
        perform seriatim.check_replayed(taken, reference);
    end if;
    return jsonb_populate_record(new, jsonb_build_object(given ->> 'column', taken.number));
end $$;

-- Whether a number is void, and may leave its row: for its replacement, or for none.
create or replace function seriatim.may_leave(series text, tenant text, number text, next_number text) returns boolean language sql stable
begin atomic
    select coalesce((
        select e.state = 'voided' and (next_number is null or e.replacement = seriatim.id_of($1, next_number, $2))
        from seriatim.line l join seriatim.entry e on e.line = l.no
        where l.series = $1 and l.tenant = $2 and e.number = $3), false);
end;

-- A number that somebody else wrote: refused, or adopted; and one that stands is never changed, nor what it stands for.
create or replace function seriatim.guard_number() returns trigger language plpgsql security definer
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan set lock_timeout = '3s' as $$
declare
    given jsonb := tg_argv[0];
    series text := given ->> 'series';
    after record := seriatim.read_row(new, tg_relid, given);
    before record;
    reference text := coalesce(given ->> 'reference', seriatim.reference_of(given, tg_relid));
    taken seriatim.taken;
begin
    if tg_op = 'UPDATE' then
        before := seriatim.read_row(old, tg_relid, given);
        if before.tenant = after.tenant and seriatim.may_leave(series, before.tenant, before.number, after.number)
            and after.number is distinct from before.number
            and (after.number is null or before.key is null or after.key is not distinct from before.key) then
            return new;
        elsif before.number is not null then
            perform seriatim.refuse('409', 'number_fixed', format(
                '%s of %s.%s is %s and stays, with its key and its tenant; void it and issue another',
                given ->> 'column', tg_table_schema, tg_table_name, before.number));
        end if;
    end if;
    if given ->> 'supplied' <> 'adopt' then
        perform seriatim.refuse('422', 'number_supplied', format('%s of %s.%s fills itself; leave it null',
            given ->> 'column', tg_table_schema, tg_table_name), null,
            'supplied => ''adopt'' records numbers that were issued elsewhere');
    end if;
    taken := seriatim.take_from_elsewhere(series, after.number,
        case when given ? 'date' then after.date
            else (select (seriatim.clock() at time zone p.zone)::date from seriatim.series_plan p where p.name = series) end,
        after.key, after.tenant, null, reference);
    if taken.replayed then
        perform seriatim.check_replayed(taken, reference);
    end if;
    return new;
end $$;

-- A row goes: its number is spent, or the row stays.
create or replace function seriatim.keep_number() returns trigger language plpgsql security definer
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan as $$
declare
    given jsonb := tg_argv[0];
    series text := given ->> 'series';
    of_row record;
begin
    if tg_op = 'TRUNCATE' then
        -- This one is left when the column is dropped with its other triggers.
        if not exists (select from pg_trigger t where t.tgrelid = tg_relid and t.tgfoid = to_regproc('seriatim.fill_number')
                and t.tgname = replace(tg_name, '~seriatim_truncate_', '~seriatim_fill_')) then
            return null;
        end if;
        perform seriatim.refuse('409', 'number_fixed', format('%s.%s has numbers and cannot be truncated; delete its rows',
            tg_table_schema, tg_table_name));
    end if;
    of_row := seriatim.read_row(old, tg_relid, given);
    if given ->> 'on_delete' <> 'void' then
        perform seriatim.refuse('409', 'number_fixed', format('the row of number %s stays', of_row.number), null,
            'on_delete => ''void'' would void the number of a deleted row');
    elsif not seriatim.may_leave(series, of_row.tenant, of_row.number, null) then
        perform seriatim.do_void(seriatim.id_of(series, of_row.number, of_row.tenant),
            'deleted from ' || coalesce(given ->> 'reference', seriatim.reference_of(given, tg_relid)), 'other', false);
    end if;
    return old;
end $$;

-- A row has got the number that its key stood for: it must not be void by now. Whoever deletes the row of a key voids its
-- number after that, in this very statement or in the transaction that our insert has waited for, and the retry was
-- answered before.
create or replace function seriatim.check_number_stands() returns trigger language plpgsql security definer
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan as $$
declare
    given jsonb := tg_argv[0];
    after record := seriatim.read_row(new, tg_relid, given);
    before record;
    why text;
begin
    if tg_op = 'UPDATE' then
        before := seriatim.read_row(old, tg_relid, given);
        if before.number = after.number then
            return null;
        end if;
    end if;
    select e.reason into why
        from seriatim.series_plan p join seriatim.line l on l.series = any (p.name || p.olds)
        join seriatim.entry e on e.line = l.no
        where p.name = given ->> 'series' and l.tenant = after.tenant and e.number = after.number and e.state = 'voided';
    if found then
        perform seriatim.refuse('409', 'voided', format('the key''s number %s is void (%s)', after.number, why),
            '/key', 'use another key for a new document', array[after.number]);
    end if;
    return null;
end $$;

-- Which columns, alone or beside the tenant, are unique in every row and at every moment: until a deferred constraint is
-- looked at, two rows could have a number, and the one that goes would void that of the other.
create or replace function seriatim.is_unique(of_table regclass, of_column text, tenant_column text) returns boolean language sql stable
begin atomic
    select exists (
        select from pg_index i
        where i.indrelid = of_table and i.indisunique and i.indimmediate and i.indisvalid
            and i.indpred is null and i.indexprs is null
            and (select array_agg(a.attname::text) from pg_attribute a
                where a.attrelid = of_table and a.attnum = any ((i.indkey::int2[])[0:i.indnkeyatts - 1]))
                in (array[of_column], array[of_column, tenant_column], array[tenant_column, of_column]));
end;

create or replace function seriatim.require_series(series text) returns void language plpgsql stable security definer
    set search_path = pg_catalog, pg_temp as $$
begin
    if not exists (select from seriatim.series_plan p where p.name = $1) then
        perform seriatim.refuse('404', 'unknown_series', format('there is no series %s', $1), '/series');
    end if;
end $$;

-- What is wrong with a column for what it shall be; null if nothing. A key that PostgreSQL finds equal in another spelling
-- would be another key here.
create or replace function seriatim.unfit(of_table regclass, of_column text, use text) returns text language sql stable
begin atomic
    with recursive base (type, typtype, typbasetype) as (
        select t.oid, t.typtype, t.typbasetype from pg_attribute a join pg_type t on t.oid = a.atttypid
            where a.attrelid = of_table and a.attname = of_column
        union all
        select t.oid, t.typtype, t.typbasetype from base b join pg_type t on t.oid = b.typbasetype where b.typtype = 'd'
    )
    select case
        when a.attgenerated <> '' then 'is generated, which is after the number is taken'
        when use = 'number' and a.atthasdef then format('has the default %s, and would never be null: alter table %s alter %I drop default',
            (select pg_get_expr(d.adbin, d.adrelid) from pg_attrdef d where d.adrelid = a.attrelid and d.adnum = a.attnum),
            of_table, of_column)
        when use = 'number' and a.atttypid not in ('text'::regtype, 'varchar'::regtype)
            then format('is %s; a number is text', format_type(a.atttypid, null))
        when use = 'date' and a.atttypid not in ('date'::regtype, 'timestamptz'::regtype)
            then format('is %s; a document date is a date, or a timestamp with time zone', format_type(a.atttypid, null))
        when use in ('key', 'tenant', 'param') and b.typtype <> 'e' and b.type not in ('text'::regtype, 'varchar'::regtype,
                'smallint'::regtype, 'integer'::regtype, 'bigint'::regtype, 'uuid'::regtype)
            and not (use = 'param' and b.type in ('bpchar'::regtype, 'numeric'::regtype))
            then format('is %s; a %s is text, varchar, smallint, integer, bigint, uuid or an enum', format_type(a.atttypid, null), use)
        when use in ('key', 'tenant') and not coalesce(c.collisdeterministic, true)
            then format('has a collation by which different texts are the same %s', use)
        end
    from pg_attribute a join base b on b.typtype <> 'd' left join pg_collation c on c.oid = a.attcollation
    where a.attrelid = of_table and a.attname = of_column;
end;

-- The name by which a table is to go in the journal: its own, unless one that was renamed goes by it.
create or replace function seriatim.free_reference(of_table regclass) returns text language plpgsql stable
    set search_path = pg_catalog, pg_temp set quote_all_identifiers = off as $$
declare
    own text := (select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.oid = of_table);
    free text := coalesce((
        select seriatim.given_to(t.tgargs) ->> 'reference' from pg_trigger t
        where t.tgrelid = of_table and t.tgfoid = to_regproc('seriatim.fill_number') and t.tgparentid = 0
        limit 1), own);
    twins int := 1;
begin
    while seriatim.table_of(free) <> of_table loop
        twins := twins + 1;
        free := format('%s (%s)', own, twins);
    end loop;
    return free;
end $$;

-- When a number is looked at in its row: one that was taken anew is nobody else's yet.
create or replace function seriatim.was_replayed(of_column text) returns text language sql stable
return format('new.%I is not null and pg_catalog.current_setting(''seriatim.replayed'', true) operator(pg_catalog.=) ''on''',
    of_column);

-- The triggers by which a column fills itself, or why it cannot.
create or replace function seriatim.number_triggers(
    "table" regclass, "column" text, series text, key_column text, tenant_column text, date_column text, params jsonb,
    number_when text, supplied text, on_delete text
) returns text[] language plpgsql stable set search_path = pg_catalog, pg_temp set quote_all_identifiers = off as $$
declare
    used record;
    given text;
    last_one text;
    fixed text;
    other text;
    -- What of the column's name has room in that of a trigger.
    named text := case when octet_length($2) <= 40 then $2 else md5($2) end;
begin
    for used in select * from (values ($2, 'number'), ($4, 'key'), ($5, 'tenant'), ($6, 'date')) v (name, use)
        union all select p.value, 'param' from jsonb_each_text($7) p
    loop
        continue when used.name is null and used.use <> 'number';
        if not exists (select from pg_attribute a
                where a.attrelid = $1 and a.attname = used.name and a.attnum > 0 and not a.attisdropped) then
            perform seriatim.refuse('404', 'unknown_column', format('%s has no column %s', $1, used.name));
        elsif seriatim.unfit($1, used.name, used.use) is not null then
            perform seriatim.refuse('422', 'column_unfit', format('%s of %s %s', used.name, $1, seriatim.unfit($1, used.name, used.use)));
        end if;
    end loop;
    if $8 is null or coalesce($9 not in ('refuse', 'adopt'), true) or coalesce($10 not in ('refuse', 'void'), true) then
        perform seriatim.refuse('400', 'invalid_text',
            'number_when is a condition, supplied is refuse or adopt, on_delete is refuse or void');
    elsif $9 = 'adopt' and $10 = 'void' and exists (
            select from pg_class c where c.oid = $1 and (c.relkind = 'p' or c.relispartition)) then
        perform seriatim.refuse('422', 'column_unfit', format(
            'a row of %s that moves to another partition would void its own number', $1), null, 'leave out supplied or on_delete');
    elsif not seriatim.is_unique($1, $2, $5) then
        perform seriatim.refuse('422', 'not_unique', format('%s of %s is not unique, or not at every moment', $2, $1), null,
            format('alter table %s add unique (%s)', $1, concat_ws(', ', quote_ident($5), quote_ident($2))));
    elsif $4 is not null and not seriatim.is_unique($1, $4, $5) then
        perform seriatim.refuse('422', 'not_unique', format('%s of %s is not unique, or not at every moment', $4, $1), null,
            format('alter table %s add unique (%s)', $1, concat_ws(', ', quote_ident($5), quote_ident($4))));
    elsif exists (select from pg_trigger t where t.tgrelid = $1 and t.tgname = '~seriatim_fill_' || named) then
        perform seriatim.refuse('409', 'column_numbered', format('%s of %s fills itself already', $2, $1));
    end if;
    perform seriatim.require_series($3);
    select o.given ->> 'column' into other
        from pg_trigger t, lateral (select seriatim.given_to(t.tgargs)) o (given)
        where t.tgrelid = $1 and t.tgfoid = to_regproc('seriatim.fill_number') and o.given ->> 'series' = $3
            and o.given ->> 'key' = $4 and o.given ->> 'tenant' is not distinct from $5;
    if found then
        perform seriatim.refuse('409', 'column_numbered', format('%s of %s fills itself from %s by the same key already', other, $1, $3), null,
            'a key stands for one number of a series; give each column a series of its own');
    end if;
    select max(t.tgname) into last_one from pg_trigger t
        where t.tgrelid = $1 and not t.tgisinternal and t.tgtype & 2 = 2 and t.tgtype & 1 = 1
            and t.tgname::text collate "C" > '~seriatim' and not starts_with(t.tgname::text, '~seriatim_');
    if last_one is not null then
        perform seriatim.refuse('409', 'trigger_later', format(
            'the trigger %s of %s would fire after the number is taken; rename it', last_one, $1));
    end if;

    given := jsonb_strip_nulls(jsonb_build_object('column', $2, 'series', $3, 'key', $4, 'tenant', $5,
        'date', $6, 'params', coalesce($7, '{}'), 'supplied', $9, 'on_delete', $10,
        'reference', seriatim.free_reference($1)));
    -- A key that comes after its number was never bound; once there, neither it nor the tenant changes.
    select string_agg(format(' or old.%I is not null and old.%2$I is not null and new.%2$I is distinct from old.%2$I', $2, c), '')
        into fixed from unnest(array[$4, $5]) c where c is not null;
    -- What was left when the column was dropped.
    return array(select format('drop trigger %I on %s', t.tgname, $1) from pg_trigger t
        where t.tgrelid = $1 and t.tgparentid = 0 and starts_with(t.tgname::text, '~seriatim_')
            and t.tgfoid in (to_regproc('seriatim.guard_number'), to_regproc('seriatim.keep_number'),
                to_regproc('seriatim.check_number_stands'))
            and seriatim.given_to(t.tgargs) ->> 'column' = $2)
    || array(select format('create trigger %I %s on %s %s execute function seriatim.%I(%L)',
            '~seriatim_' || made.verb || '_' || named, made.moment, $1, made.condition, made.does, given)
        from (values
            ('bring', 'before insert', format('for each row when (new.%I is not null)', $2), 'guard_number'),
            ('change', 'before update', format('for each row when (new.%1$I is distinct from old.%1$I%2$s)', $2, fixed), 'guard_number'),
            ('fill', 'before insert or update', format('for each row when (new.%I is null and (%s))', $2, $8), 'fill_number'),
            ('check', 'after insert or update', format('for each row when (%s)', seriatim.was_replayed($2)), 'check_number_stands'),
            ('go', case $10 when 'void' then 'after' else 'before' end || ' delete',
                format('for each row when (old.%I is not null)', $2), 'keep_number'),
            ('truncate', 'before truncate', 'for each statement', 'keep_number')) made (verb, moment, condition, does));
end $$;

-- Lets a column fill itself from a series. `number_when` is a condition on `new`; `params` names for each param the
-- column that holds it.
create or replace function seriatim.number_column(
    "table" regclass, "column" text, series text, key_column text default null, tenant_column text default null,
    date_column text default null, params jsonb default '{}', number_when text default 'true',
    supplied text default 'refuse', on_delete text default 'refuse'
) returns void language plpgsql as $$
declare
    made pg_catalog.text;
begin
    -- Names in `number_when` are those of the caller.
    foreach made in array seriatim.number_triggers($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) loop
        execute made;
    end loop;
end $$;

-- Columns that an earlier version made get what they lack: the name of their table, and the look at a number once it is
-- in its row. It takes who may make triggers there; what he may not is as it was.
do $$
declare
    filled record;
    made text;
begin
    perform set_config('quote_all_identifiers', 'off', true);
    for filled in
        select t.tgrelid::regclass as of_table, g.given, substr(t.tgname, length('~seriatim_fill_') + 1) as named,
            g.given || jsonb_build_object('reference', seriatim.free_reference(t.tgrelid)) as renewed
        from pg_trigger t, lateral (select seriatim.given_to(t.tgargs)) g (given)
        where t.tgfoid = to_regproc('seriatim.fill_number') and t.tgparentid = 0 and not g.given ? 'reference'
    loop
        begin
            for made in
                select format('create or replace %s(%L)', substring(pg_get_triggerdef(t.oid)
                        from '^CREATE (.* EXECUTE FUNCTION seriatim[.][a-z_]+)[(]'), filled.renewed)
                    || case t.tgenabled when 'O' then '' else format('; alter table %s %s trigger %I', filled.of_table,
                        case t.tgenabled when 'D' then 'disable' when 'A' then 'enable always' else 'enable replica' end, t.tgname) end
                    from pg_trigger t
                    where t.tgrelid = filled.of_table and starts_with(t.tgname::text, '~seriatim_')
                        and seriatim.given_to(t.tgargs) = filled.given
                union all
                select format('create or replace trigger %I after insert or update on %s for each row when (%s)
                        execute function seriatim.check_number_stands(%L)', '~seriatim_check_' || filled.named,
                    filled.of_table, seriatim.was_replayed(filled.given ->> 'column'), filled.renewed)
            loop
                execute made;
            end loop;
        exception
            when insufficient_privilege or undefined_column then
                raise warning 'the column % of % stays as an earlier version made it: %', filled.given ->> 'column',
                    filled.of_table, sqlerrm;
        end;
    end loop;
end $$;
