-- The SQL door, 8 of 9: a column of the user's own table that fills itself.
--
-- number_column runs with the rights of its caller, who must own the table; the triggers run with those of the owner of
-- this schema, so a role that may insert needs no right here. The triggers' names begin with `~`, which sorts after the
-- letters: they fire last, when the row is as it will be.

-- One value of a row, as text; dates of instants are those of the series' zone, not of the session.
create or replace function seriatim.row_date(cells jsonb, date_column text, series text) returns date language plpgsql stable as $$
declare
    cell text := cells ->> date_column;
begin
    if cell ~ '^\d{4,}-\d\d-\d\d$' then
        return cell::date;
    end if;
    return (cell::timestamptz at time zone (select p.zone from seriatim.series_plan p where p.name = series))::date;
end $$;

-- Takes the number of a row that has none. Arguments: column, series, key, tenant and date column, params, as JSON.
create or replace function seriatim.fill_number() returns trigger language plpgsql security definer
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan set lock_timeout = '3s' as $$
declare
    given jsonb := tg_argv[0];
    cells jsonb := to_jsonb(new);
    series text := given ->> 'series';
    number text;
begin
    number := (seriatim.take('issue', series, cells ->> (given ->> 'key'),
        case when given ? 'tenant' then cells ->> (given ->> 'tenant') else 'default' end,
        (select coalesce(jsonb_object_agg(p.key, cells -> p.value), '{}') from jsonb_each_text(given -> 'params') p),
        case when given ? 'date' then seriatim.row_date(cells, given ->> 'date', series) end,
        null, format('%I.%I', tg_table_schema, tg_table_name))).number;
    return jsonb_populate_record(new, jsonb_build_object(given ->> 'column', number));
end $$;

-- A number that somebody else wrote: refused, or adopted; and one that stands is never changed.
create or replace function seriatim.guard_number() returns trigger language plpgsql security definer
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan set lock_timeout = '3s' as $$
declare
    given jsonb := tg_argv[0];
    cells jsonb := to_jsonb(new);
    number text := cells ->> (given ->> 'column');
    series text := given ->> 'series';
    before text;
begin
    if tg_op = 'UPDATE' then
        before := to_jsonb(old) ->> (given ->> 'column');
    end if;
    if before is not null then
        perform seriatim.refuse('409', 'number_fixed', format('%s of %s.%s is %s and stays; void it and issue another',
            given ->> 'column', tg_table_schema, tg_table_name, before));
    elsif given ->> 'supplied' <> 'adopt' then
        perform seriatim.refuse('422', 'number_supplied', format('%s of %s.%s fills itself; leave it null',
            given ->> 'column', tg_table_schema, tg_table_name), null,
            'supplied => ''adopt'' records numbers that were issued elsewhere');
    end if;
    perform seriatim.take_from_elsewhere(series, number,
        case when given ? 'date' then seriatim.row_date(cells, given ->> 'date', series)
            else (select (seriatim.clock() at time zone p.zone)::date from seriatim.series_plan p where p.name = series) end,
        cells ->> (given ->> 'key'),
        case when given ? 'tenant' then cells ->> (given ->> 'tenant') else 'default' end,
        null, format('%I.%I', tg_table_schema, tg_table_name));
    return new;
end $$;

-- A row goes: its number is spent, or the row stays.
create or replace function seriatim.keep_number() returns trigger language plpgsql security definer
    set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan as $$
declare
    given jsonb := tg_argv[0];
    cells jsonb := to_jsonb(old);
    number text := cells ->> (given ->> 'column');
begin
    if tg_op = 'TRUNCATE' then
        perform seriatim.refuse('409', 'number_fixed', format('%s.%s has numbers and cannot be truncated; delete its rows',
            tg_table_schema, tg_table_name));
    elsif given ->> 'on_delete' <> 'void' then
        perform seriatim.refuse('409', 'number_fixed', format('the row of number %s stays', number), null,
            'on_delete => ''void'' would void the number of a deleted row');
    end if;
    perform seriatim.do_void(seriatim.id_of(given ->> 'series', number,
        case when given ? 'tenant' then cells ->> (given ->> 'tenant') else 'default' end),
        format('deleted from %I.%I', tg_table_schema, tg_table_name), 'other', false);
    return old;
end $$;

-- Which columns, alone or beside the tenant, are unique in every row.
create or replace function seriatim.is_unique(of_table regclass, of_column text, tenant_column text) returns boolean language sql stable
begin atomic
    select exists (
        select from pg_index i
        where i.indrelid = of_table and i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null
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

-- Lets a column fill itself from a series. `number_when` is a condition on `new`; `params` names for each param the
-- column that holds it.
create or replace function seriatim.number_column(
    "table" regclass, "column" text, series text, key_column text default null, tenant_column text default null,
    date_column text default null, params jsonb default '{}', number_when text default 'true',
    supplied text default 'refuse', on_delete text default 'refuse'
) returns void language plpgsql as $$
declare
    named text;
    kind text;
    given text;
    last_one text;
    made text[];
begin
    foreach named in array array[$2, $4, $5, $6] || array(select value from jsonb_each_text($7)) loop
        continue when named is null;
        select format_type(a.atttypid, null) into kind from pg_attribute a
            where a.attrelid = $1 and a.attname = named and a.attnum > 0 and not a.attisdropped;
        if not found then
            perform seriatim.refuse('404', 'unknown_column', format('%s has no column %s', $1, named));
        elsif named = $2 and kind not in ('text', 'character varying') then
            perform seriatim.refuse('422', 'column_unfit', format('%s of %s is %s; a number is text', $2, $1, kind));
        elsif named = $6 and kind not in ('date', 'timestamp with time zone') then
            perform seriatim.refuse('422', 'column_unfit', format(
                '%s of %s is %s; a document date is a date, or a timestamp with time zone', $6, $1, kind));
        end if;
    end loop;
    if coalesce($9 not in ('refuse', 'adopt'), true) or coalesce($10 not in ('refuse', 'void'), true) then
        perform seriatim.refuse('400', 'invalid_text', 'supplied is refuse or adopt, on_delete is refuse or void');
    elsif not seriatim.is_unique($1, $2, $5) then
        perform seriatim.refuse('422', 'not_unique', format('%s of %s is not unique', $2, $1), null,
            format('alter table %s add unique (%s)', $1, concat_ws(', ', quote_ident($5), quote_ident($2))));
    elsif $4 is not null and not seriatim.is_unique($1, $4, $5) then
        perform seriatim.refuse('422', 'not_unique', format('%s of %s is not unique', $4, $1), null,
            format('alter table %s add unique (%s)', $1, concat_ws(', ', quote_ident($5), quote_ident($4))));
    elsif exists (select from pg_trigger t where t.tgrelid = $1 and t.tgname = '~seriatim_fill_' || left($2, 40)) then
        perform seriatim.refuse('409', 'column_numbered', format('%s of %s fills itself already', $2, $1));
    end if;
    perform seriatim.require_series($3);
    select max(t.tgname) into last_one from pg_trigger t
        where t.tgrelid = $1 and not t.tgisinternal and t.tgtype & 2 = 2 and t.tgtype & 1 = 1
            and t.tgname::text collate "C" > '~seriatim' and t.tgname not like '~seriatim\_%';
    if last_one is not null then
        perform seriatim.refuse('409', 'trigger_later', format(
            'the trigger %s of %s would fire after the number is taken; rename it', last_one, $1));
    end if;

    given := jsonb_strip_nulls(jsonb_build_object('column', $2, 'series', $3, 'key', $4, 'tenant', $5,
        'date', $6, 'params', $7, 'supplied', $9, 'on_delete', $10));
    foreach made slice 1 in array array[
        ['bring', 'before insert', 'for each row when (new.%1$I is not null)', 'guard_number'],
        ['change', 'before update', 'for each row when (new.%1$I is distinct from old.%1$I)', 'guard_number'],
        ['fill', 'before insert or update', 'for each row when (new.%1$I is null and (' || replace($8, '%', '%%') || '))', 'fill_number'],
        ['go', case $10 when 'void' then 'after' else 'before' end || ' delete', 'for each row when (old.%1$I is not null)', 'keep_number'],
        ['truncate', 'before truncate', 'for each statement', 'keep_number']]
    loop
        execute format('create trigger %I %s on %s %s execute function seriatim.%I(%L)',
            '~seriatim_' || made[1] || '_' || left($2, 40), made[2], $1, format(made[3], $2), made[4], given);
    end loop;
end $$;
