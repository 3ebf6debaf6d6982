-- The SQL door, 2 of 9: a definition, compiled once a version, so that a number costs no parsing.

create table if not exists seriatim.series_plan (
    name text not null primary key,
    version bigint not null,
    zone text not null,
    reset text not null,
    -- What to_char makes of the date; null for fiscal years.
    period text,
    -- First day of a fiscal year as month * 100 + day.
    fiscal_from int not null,
    start bigint not null,
    seq_max bigint not null,
    width int not null,
    -- The largest seq that fits the printed width; null if it has none.
    width_max bigint,
    max_length int not null,
    dates_in_order boolean not null,
    days_back int not null,
    days_ahead int not null,
    is_strict boolean not null,
    expiry_voids boolean not null,
    test boolean not null,
    replaced_by text,
    -- The series that this one replaces, the latest first.
    olds text[] not null,
    -- Declared params by name, with kind, widths and texts; and which of them split the count.
    params text[] not null,
    kinds text[] not null,
    splits boolean[] not null,
    -- What to_char makes of the date, and then format() of seq, tenant, the fiscal year in four styles and the params.
    template text not null,
    -- Reads a printed number back: a pattern, and what its groups are.
    pattern text not null,
    groups text[] not null,
    years int4range not null,
    -- The dates whose own and whose fiscal year are among those.
    first_date date not null,
    last_date date not null,
    -- The last period that is closed for some tenant: what comes after it is open.
    closed_to text collate "C"
);
-- What the fence is open on: a session that entered there takes numbers. Null while it is closed.
do $$ begin
    -- Asked first: even in vain it would wait for every transaction that has taken a number.
    if not exists (select from pg_attribute a where a.attrelid = 'seriatim.series_plan'::regclass and a.attname = 'fence') then
        alter table seriatim.series_plan add column fence text;
    end if;
end $$;

create or replace function seriatim.setting(definition text, name text) returns text language sql immutable
return nullif(substring(E'\n' || definition from E'\n' || replace(name, '.', '\.') || E'=([^\n]*)'), '');

-- What a declared param may look like, in its one spelling (core: scope.rs, ParamKind::canonical).
create or replace function seriatim.param_pattern(kind text) returns text language plpgsql immutable
    set standard_conforming_strings = on as $$
declare
    widths text[] := string_to_array(split_part(kind, ':', 2), '..');
    low int;
    high int;
begin
    if kind like 'one\_of:%' then
        return '(?:' || replace(replace(substr(kind, 8), '.', '\.'), '-', '\-') || ')';
    end if;
    low := widths[1];
    high := widths[cardinality(widths)];
    if kind like 'letters:%' then
        return format('[A-Za-z]{%s,%s}', low, high);
    elsif low = high then
        return format('[0-9]{%s}', low);
    end if;
    return format('(?:[0-9]{%s}|[1-9][0-9]{%s,%s})', low, low, high - 1);
end $$;

-- A name by which PostgreSQL means the zone: what is an abbreviation as well it takes for one, without summer time, or for
-- whatever timezone_abbreviations says.
create or replace function seriatim.zone_of(name text) returns text language sql immutable
return case name
    when 'CET' then 'Europe/Brussels' when 'MET' then 'Europe/Brussels' when 'EET' then 'Europe/Athens'
    when 'WET' then 'Europe/Lisbon' when 'EST' then 'America/Panama' when 'MST' then 'America/Phoenix'
    when 'HST' then 'Pacific/Honolulu' when 'GMT' then 'Etc/GMT' when 'UCT' then 'Etc/UCT' when 'Zulu' then 'Etc/Zulu'
    else name end;

-- Compiles a definition that the core accepted (core: Series::to_text, Format::parse).
create or replace function seriatim.plan_of(name text, version bigint, definition text) returns seriatim.series_plan
    language plpgsql stable set standard_conforming_strings = on as $$
declare
    source text := seriatim.setting(definition, 'format');
    plan seriatim.series_plan;
    token text;
    next_token text;
    tokens text[];
    old text;
    at int;
    short_years boolean := false;
    sign text;
begin
    plan.name := name;
    plan.version := version;
    plan.zone := seriatim.zone_of(seriatim.setting(definition, 'time_zone'));
    plan.reset := split_part(seriatim.setting(definition, 'reset'), ':', 1);
    plan.period := case plan.reset when 'never' then '"all"' when 'yearly' then 'YYYY' when 'monthly' then 'YYYY-MM'
        when 'daily' then 'YYYY-MM-DD' end;
    plan.closed_to := (select max(c.period) from seriatim.closure c where c.series = plan.name and c.closed);
    plan.fiscal_from := coalesce(replace(nullif(split_part(seriatim.setting(definition, 'reset'), ':', 2), ''), '-', ''), '0');
    plan.start := seriatim.setting(definition, 'start');
    plan.max_length := seriatim.setting(definition, 'max_length');
    plan.dates_in_order := seriatim.setting(definition, 'date_order') = 'required';
    plan.days_back := substring(seriatim.setting(definition, 'date_window') from '^-(\d+)d');
    plan.days_ahead := substring(seriatim.setting(definition, 'date_window') from '\+(\d+)d$');
    plan.is_strict := seriatim.setting(definition, 'replay') = 'strict';
    plan.expiry_voids := seriatim.setting(definition, 'on_expiry') = 'void';
    plan.test := seriatim.setting(definition, 'test');
    plan.replaced_by := seriatim.setting(definition, 'replaced_by');
    plan.olds := '{}';
    old := seriatim.setting(definition, 'replaces');
    -- A circle is nothing that the core accepts; whoever stored it past the core must not hang us.
    while old is not null and not old = any (plan.olds) loop
        plan.olds := plan.olds || old;
        old := (select seriatim.setting(s.definition, 'replaces') from seriatim.series s where s.name = old);
    end loop;
    select coalesce(array_agg(p[1] order by p[1] collate "C"), '{}'), coalesce(array_agg(p[2] order by p[1] collate "C"), '{}')
        into plan.params, plan.kinds
        from regexp_matches(definition, '(?:^|\n)params\.([a-z0-9_]+)=([^\n]*)', 'g') p;
    plan.splits := array(
        select p = any (string_to_array(coalesce(seriatim.setting(definition, 'partition_by'), ''), ','))
        from unnest(plan.params) with ordinality u (p, i) order by i);

    -- Literal texts and {tokens}, in their order; {{ and }} are braces.
    tokens := array(select m[1] from regexp_matches(source, '(\{\{|\}\}|\{[^{}]*\}|[^{}]+)', 'g') m);
    plan.template := '';
    plan.pattern := '^';
    plan.groups := '{}';
    plan.width := 0;
    for i in 1..cardinality(tokens) loop
        token := tokens[i];
        next_token := coalesce(tokens[i + 1], '');
        if token in ('{{', '}}') or token not like '{%' then
            token := case token when '{{' then '{' when '}}' then '}' else token end;
            -- Quoted for to_char, with what format() would take for its own doubled.
            plan.template := plan.template || '"' || replace(regexp_replace(token, '(["\\])', '\\\1', 'g'), '%', '%%') || '"';
            plan.pattern := plan.pattern || regexp_replace(token, '([][\\.*+?^$(){}|])', '\\\1', 'g');
            continue;
        end if;
        token := btrim(token, '{}');
        at := array_position(plan.params, token);
        plan.template := plan.template || case
            when at is not null then format('"%%%s$s"', at + 6)
            when token like 'seq%' then '"%1$s"'
            when token = 'tenant' then '"%2$s"'
            when token = 'fy' then '"%3$s"'
            when token = 'fy:long' then '"%4$s"'
            when token = 'fy:start' then '"%5$s"'
            when token = 'fy:end' then '"%6$s"'
            -- Kept apart: two pictures side by side can be read as a third.
            when token = 'year' then '""YYYY'
            when token = 'yy' then '""YY'
            when token = 'month' then '""MM'
            when token = 'day' then '""DD'
            when token = 'date' then '""YYYYMMDD'
        end;
        short_years := short_years or at is null and token in ('yy', 'fy');
        if at is null and token like 'seq%' then
            plan.width := coalesce(substring(token from '\d+'), '0');
            token := 'seq';
        end if;
        plan.groups := plan.groups || case when at is null then token else 'param ' || token end;
        plan.pattern := plan.pattern || '(' || case
            when at is not null then seriatim.param_pattern(plan.kinds[at])
            -- A seq is fixed before a token or a digit; else it runs on, with no zero in front beyond its width.
            when token = 'seq' and (next_token ~ '^\{[^{]' or next_token ~ '^[0-9]') then format('[0-9]{%s}', plan.width)
            when token = 'seq' and plan.width = 0 then '[1-9][0-9]*'
            when token = 'seq' then format('[0-9]{%s}|[1-9][0-9]{%s,}', plan.width, plan.width)
            when token = 'tenant' then '[A-Za-z0-9._-]+'
            when token in ('year', 'fy', 'fy:start', 'fy:end') then '[0-9]{4}'
            when token = 'fy:long' then '[0-9]{4}-[0-9]{2}'
            when token = 'date' then '[0-9]{8}'
            else '[0-9]{2}'
        end || ')';
    end loop;
    plan.pattern := plan.pattern || '$';
    plan.years := case when short_years then int4range(2000, 2100) else int4range(1000, 9999) end;
    plan.first_date := make_date(lower(plan.years), greatest(plan.fiscal_from / 100, 1), greatest(plan.fiscal_from % 100, 1));
    plan.last_date := make_date(upper(plan.years) - 1, 12, 31);
    plan.width_max := case when plan.width > 0 then (10::numeric ^ plan.width - 1)::bigint end;
    plan.seq_max := least(
        seriatim.setting(definition, 'limit')::bigint,
        case when seriatim.setting(definition, 'overflow') = 'refuse' then plan.width_max end,
        9223372036854775807);
    return plan;
end $$;

-- The timeline and the cluster that numbers may be taken on; null while they may not.
create or replace function seriatim.open_on(fence seriatim.fence) returns text language sql immutable
return case when (fence).open then (fence).timeline || ' ' || (fence).system_id end;

create or replace function seriatim.keep_plan() returns trigger language plpgsql security definer
    set search_path = pg_catalog, pg_temp as $$
declare
    shared seriatim.fence;
    plan seriatim.series_plan;
begin
    -- Shared until we are done: who closes the fence meanwhile waits, and then finds this row.
    select * into shared from seriatim.fence for share;
    delete from seriatim.series_plan p where p.name = old.name or p.name = new.name;
    if tg_op <> 'DELETE' then
        plan := seriatim.plan_of(new.name, new.version, new.definition);
        plan.fence := seriatim.open_on(shared);
        insert into seriatim.series_plan select plan.*;
    end if;
    return null;
end $$;

create or replace trigger keep_plan after insert or update or delete on seriatim.series
    for each row execute function seriatim.keep_plan();

create or replace function seriatim.keep_closed() returns trigger language plpgsql security definer
    set search_path = pg_catalog, pg_temp as $$
begin
    update seriatim.series_plan p
        set closed_to = (select max(c.period) from seriatim.closure c where c.series = p.name and c.closed)
        where p.name = old.series or p.name = new.series;
    return null;
end $$;

create or replace trigger keep_closed after insert or update or delete on seriatim.closure
    for each row execute function seriatim.keep_closed();

create or replace function seriatim.keep_fence() returns trigger language plpgsql security definer
    set search_path = pg_catalog, pg_temp as $$
begin
    update seriatim.series_plan p set fence = seriatim.open_on(new);
    return null;
end $$;

create or replace trigger keep_fence after insert or update or delete on seriatim.fence
    for each row execute function seriatim.keep_fence();

-- All of them anew, as this version compiles them.
update seriatim.series s set version = s.version;

-- The calendar year in which the fiscal year of a date began; without a fiscal reset that of the date (core: period.rs).
create or replace function seriatim.fiscal_year(fiscal_from int, date date) returns int language sql immutable
return extract(year from date)::int
    - (extract(month from date)::int * 100 + extract(day from date)::int < fiscal_from)::int;

create or replace function seriatim.fiscal_period(fiscal_from int, date date) returns text language plpgsql stable as $$
declare
    fy int := seriatim.fiscal_year(fiscal_from, date);
begin
    return fy || '-' || lpad(((fy + 1) % 100)::text, 2, '0');
end $$;

create or replace function seriatim.period_of(shape text, fiscal_from int, date date) returns text language sql stable
return case when shape is null then seriatim.fiscal_period(fiscal_from, date) else to_char(date::timestamp, shape) end;

create or replace function seriatim.render_params(shape text, digits text, fy int, tenant text, vals text[])
    returns text language plpgsql stable as $$
begin
    return format(shape, variadic array[
        digits, tenant,
        lpad((fy % 100)::text, 2, '0') || lpad(((fy + 1) % 100)::text, 2, '0'),
        fy || '-' || lpad(((fy + 1) % 100)::text, 2, '0'),
        fy::text, (fy + 1)::text] || vals);
end $$;

-- Prints a number that has neither params nor a fiscal year: what is unfolded where it is called stays small.
create or replace function seriatim.render_plain(template text, width int, tenant text, date date, digits text)
    returns text language sql stable
return format(to_char(date::timestamp, template), repeat('0', width - length(digits)) || digits, tenant);

-- Prints a number (core: Format::render).
create or replace function seriatim.render(
    template text, width int, fiscal_from int, tenant text, vals text[], date date, digits text
) returns text language sql stable
return case
    when fiscal_from = 0 and vals = '{}' then seriatim.render_plain(template, width, tenant, date, digits)
    else seriatim.render_params(to_char(date::timestamp, template), repeat('0', width - length(digits)) || digits,
        seriatim.fiscal_year(fiscal_from, date), tenant, vals)
end;

-- Why a counter that stands at this seq has no next number, whatever limit and overflow are changed to; null if it could
-- have one. Of params that do not split the count the shortest are meant (core: Series::end_for_ever).
create or replace function seriatim.end_for_ever(
    plan seriatim.series_plan, tenant text, vals text[], date date, seq bigint
) returns text language plpgsql stable as $$
declare
    known text[] := array(
        select case
            when u.s then u.v
            when starts_with(u.k, 'one_of:') then
                (select o from unnest(string_to_array(substr(u.k, 8), '|')) o order by length(o) limit 1)
            else repeat('0', substring(u.k from ':([0-9]+)')::int)
        end
        from unnest(vals, plan.kinds, plan.splits) with ordinality u (v, k, s, i) order by u.i);
    characters int;
begin
    if seq = 9223372036854775807 then
        return format('%s is the last seq of all', seq);
    end if;
    characters := length(
        seriatim.render(plan.template, plan.width, plan.fiscal_from, tenant, known, date, (seq + 1)::text));
    return case when characters > plan.max_length then
        format('the next one has %s characters at least, more than max_length = %s', characters, plan.max_length) end;
end $$;

-- Reads a number back: its params, period and seq; nothing if the format cannot have printed it (core: Series::read).
create or replace function seriatim.read_number(
    plan seriatim.series_plan, tenant text, number text, out vals text[], out period text, out seq bigint
) language plpgsql stable as $$
declare
    found_groups text[] := regexp_match(number, plan.pattern);
    part text;
    kind text;
    year int; month int; day int; fiscal_start int; first int; other int;
begin
    vals := array_fill(null::text, array[cardinality(plan.params)]);
    for i in 1..coalesce(cardinality(found_groups), 0) loop
        part := found_groups[i];
        kind := plan.groups[i];
        if kind = 'seq' then
            -- More digits than the largest seq has, and perhaps more than a numeric can hold.
            if length(part) > 19 or part::numeric not between 1 and 9223372036854775807 then
                return;
            end if;
            seq := part;
        elsif kind = 'tenant' then
            if part <> tenant then
                seq := null;
                return;
            end if;
        elsif kind like 'param %' then
            other := array_position(plan.params, substr(kind, 7));
            if vals[other] <> part then
                seq := null;
                return;
            end if;
            vals[other] := part;
        elsif kind like 'fy%' then
            first := case kind when 'fy' then 2000 + left(part, 2)::int when 'fy:end' then part::int - 1 else left(part, 4)::int end;
            if fiscal_start <> first
                or kind in ('fy', 'fy:long') and right(part, 2)::int <> (first + 1) % 100 then
                seq := null;
                return;
            end if;
            fiscal_start := first;
        else
            if kind in ('year', 'date', 'yy') then
                first := case kind when 'yy' then 2000 + part::int else left(part, 4)::int end;
                if year <> first then seq := null; return; end if;
                year := first;
            end if;
            if kind in ('month', 'date') then
                first := substr(part, case kind when 'date' then 5 else 1 end, 2)::int;
                if month <> first then seq := null; return; end if;
                month := first;
            end if;
            if kind in ('day', 'date') then
                first := right(part, 2)::int;
                if day <> first then seq := null; return; end if;
                day := first;
            end if;
        end if;
    end loop;
    if plan.reset = 'never' or seq is null then
        period := 'all';
        return;
    end if;
    if plan.fiscal_from > 0 and fiscal_start is not null then
        year := fiscal_start; month := plan.fiscal_from / 100; day := plan.fiscal_from % 100;
    end if;
    month := coalesce(month, 1);
    day := coalesce(day, 1);
    -- A day that no calendar has was not printed.
    if year is null or year < 1 or month not between 1 and 12 or day < 1 or
        day > extract(day from (make_date(year, month, 1) + interval '1 month - 1 day'))::int then
        seq := null;
        return;
    end if;
    period := seriatim.period_of(plan.period, plan.fiscal_from, make_date(year, month, day));
end $$;
