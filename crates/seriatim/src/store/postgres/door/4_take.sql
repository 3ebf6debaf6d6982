-- The SQL door, 4 of 9: taking the next number, and what a retry hears (core: decide/issue.rs).

-- What must be so before anything is read: we would see another's commit, and may write.
create or replace function seriatim.enter() returns void language plpgsql as $$
declare
    fenced text;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        perform seriatim.refuse('409', 'isolation_level',
            'numbers and gates are taken in READ COMMITTED only: an older snapshot does not see what was decided since',
            hint => 'begin isolation level read committed');
    end if;
    if current_setting('transaction_read_only') = 'on' then
        perform seriatim.refuse('503', 'read_only', 'this transaction or server is read-only; connect to the primary');
    end if;
    fenced := seriatim.fence_problem();
    if fenced is not null then
        perform seriatim.refuse('503', 'fenced', fenced);
    end if;
end $$;

-- How long a caller waits for another's transaction before he is told: alter function … set lock_timeout to change it.
create or replace function seriatim.wait_for_series(series text) returns void language plpgsql
    set lock_timeout = '3s' as $$
begin
    perform pg_advisory_xact_lock_shared(1397053779, hashtext(series));
exception
    when lock_not_available or deadlock_detected then
        perform seriatim.refuse('503', 'counter_busy',
            format('series %s is being defined, closed or wiped by another transaction; try again', series));
end $$;

-- Nobody defines, closes or wipes the series until this transaction ends.
create or replace function seriatim.share_series(series text) returns void language plpgsql as $$
begin
    if not pg_try_advisory_xact_lock_shared(1397053779, hashtext(series)) then
        perform seriatim.wait_for_series(series);
    end if;
end $$;

-- The counter, locked; born if there is none. Waits for another's transaction, but not for ever.
create or replace function seriatim.wait_for_counter(
    of_series text, of_tenant text, of_partition text, of_period text, start bigint
) returns void language plpgsql set lock_timeout = '3s' as $$
declare
    genesis bytea := seriatim.counter_genesis(of_series, of_tenant, of_partition, of_period);
begin
    for looked in 1..2 loop
        perform from seriatim.counter c
            where c.series = of_series and c.tenant = of_tenant and c.period = of_period and c.partition = of_partition
            for update;
        if found then
            return;
        end if;
        perform pg_advisory_xact_lock(1397053781, hashtext(seriatim.counter_id(genesis)));
    end loop;
    insert into seriatim.line (series, tenant) values (of_series, of_tenant) on conflict do nothing;
    insert into seriatim.counter (id, series, tenant, partition, period, line, first_seq, last_seq, issued, reserved,
            voided, missing, length, head)
        select seriatim.counter_id(genesis), of_series, of_tenant, of_partition, of_period, l.no, start, start - 1,
            0, 0, 0, 0, 0, genesis
        from seriatim.line l where l.series = of_series and l.tenant = of_tenant;
exception
    when lock_not_available or deadlock_detected then
        perform seriatim.refuse('503', 'counter_busy', format(
            'another transaction holds the counter %s of series %s; try again', of_period, of_series));
end $$;

create or replace function seriatim.closed_because(of_series text, of_tenant text, of_period text) returns text language sql
begin atomic
    select c.reason from seriatim.closure c
    where c.series = of_series and c.tenant = of_tenant and c.period = of_period and c.closed;
end;

create or replace function seriatim.plan(of_series text) returns seriatim.series_plan language sql stable
begin atomic
    select p from seriatim.series_plan p where p.name = of_series;
end;

-- The params in their one spelling, by name (core: Params::canonical).
create or replace function seriatim.canonical_params(plan seriatim.series_plan, given jsonb) returns text[] language plpgsql as $$
declare
    vals text[] := '{}';
    value text;
    name text;
begin
    if given is not null and jsonb_typeof(given) <> 'object' then
        perform seriatim.refuse('422', 'invalid_param', 'params must be a JSON object', '/params');
    end if;
    select k into name from jsonb_object_keys(coalesce(given, '{}')) k where k <> all (plan.params) order by k collate "C" limit 1;
    if name is not null then
        perform seriatim.refuse('422', 'unknown_param', format('unknown param `%s`; series %s declares %s', name, plan.name,
                coalesce(nullif(array_to_string(plan.params, ', '), ''), 'none')),
            '/params/' || replace(replace(name, '~', '~0'), '/', '~1'));
    end if;
    for i in 1..cardinality(plan.params) loop
        value := given ->> plan.params[i];
        if value is null then
            perform seriatim.refuse('422', 'missing_param', format('param `%s` is missing; it is %s', plan.params[i], plan.kinds[i]),
                '/params/' || plan.params[i]);
        end if;
        if plan.kinds[i] like 'digits:%' and value ~ '^[0-9]{1,255}$' then
            value := ltrim(value, '0');
            value := lpad(value, greatest(length(value), substring(plan.kinds[i] from ':([0-9]+)')::int), '0');
        end if;
        if value !~ ('^' || seriatim.param_pattern(plan.kinds[i]) || '$') then
            perform seriatim.refuse('422', 'invalid_param', format('param `%s` must be %s', plan.params[i], plan.kinds[i]),
                '/params/' || plan.params[i]);
        end if;
        vals := vals || value;
    end loop;
    return vals;
end $$;

-- `name=value,name=value`: all, or those that split the count (core: Params, its Display).
create or replace function seriatim.params_text(plan seriatim.series_plan, vals text[], all_of_them boolean) returns text language sql immutable
return (select coalesce(string_agg(p || '=' || v, ',' order by i), '')
    from unnest(plan.params, vals, plan.splits) with ordinality u (p, v, s, i) where s or all_of_them);

-- What a key stands for already, here or in a series that this one replaces; null if nothing (core: Draft::replay).
create or replace function seriatim.replay(
    plan seriatim.series_plan, of_tenant text, of_key text, of_origin text, with_params text, with_date date, with_document bytea
) returns seriatim.taken language plpgsql as $$
declare
    old record;
    entry seriatim.entry;
    original seriatim.entry;
    differs text[] := '{}';
begin
    select p.is_strict, k.counter, k.seq, k.count into old
        from unnest(plan.name || plan.olds) with ordinality n (name, i)
        join seriatim.series_plan p on p.name = n.name
        join seriatim.line l on l.series = n.name and l.tenant = of_tenant
        join seriatim.key k on k.line = l.no and k.key = of_key
        order by n.i limit 1;
    if not found then
        return null;
    end if;
    select * into entry from seriatim.entry e where e.counter = old.counter and e.seq = old.seq;
    -- A number that was moved in answers every verb, so that a payment that is retried after the move hears it.
    if entry.origin not in (of_origin, 'adopt') and entry.replaces is null then
        perform seriatim.refuse('422', 'key_reused', format(
            'this key was used before to %s, not to %s, and got %s', entry.origin, of_origin, entry.number), '/key', null, array[entry.number]);
    elsif coalesce(entry.params, '') <> with_params then
        perform seriatim.refuse('422', 'key_reused', format(
            'this key was used before with params %s, not %s, and got %s', entry.params, with_params, entry.number), '/key', null, array[entry.number]);
    elsif old.count <> 1 then
        perform seriatim.refuse('422', 'key_reused', format(
            'this key was used before for %s numbers, not 1, and got %s', old.count, entry.number), '/key', null, array[entry.number]);
    end if;
    -- A voided number is no answer to a retry, and its replacement is not the same number: say both.
    if entry.state = 'voided' then
        perform seriatim.refuse('409', 'voided', format('the key''s number %s is void (%s)', entry.number, entry.reason),
            '/key', 'use another key for a new document', array[entry.number]);
    elsif entry.replaces is not null then
        select * into original from seriatim.find_entry(entry.replaces);
        perform seriatim.refuse('409', 'voided', format('the key''s number %s is void (%s); its replacement is %s',
            original.number, original.reason, entry.number), '/key', null, array[original.number, entry.number]);
    end if;
    if with_date <> entry.date then
        differs := differs || 'date'::text;
    end if;
    -- A reservation may get its document when it is confirmed.
    if with_document is distinct from entry.document_sha256
        and not (of_origin = 'reserve' and with_document is null and entry.issued_at is not null) then
        differs := differs || 'document'::text;
    end if;
    if old.is_strict and differs <> '{}' then
        perform seriatim.refuse('422', 'key_reused', format('this key was used before with another %s, and got %s',
            array_to_string(differs, ' and '), entry.number), '/key', null, array[entry.number]);
    end if;
    -- With synchronous replication a mere read confirms what a failover may forget; this makes the commit wait.
    perform pg_logical_emit_message(true, 'seriatim', 'replayed');
    return (entry.counter, entry.seq, entry.number, true, differs)::seriatim.taken;
end $$;

-- The entry of an id, if there is one.
create or replace function seriatim.find_entry(of_id text) returns seriatim.entry language sql
begin atomic
    select e from seriatim.entry e join seriatim.counter c on c.no = e.counter
    where c.id = split_part(of_id, '_', 2) and e.seq = split_part(of_id, '_', 3)::bigint;
end;

-- The number fits its length, and no series of the same line has printed or passed over it (core: Draft::check_number).
create or replace function seriatim.check_number(
    plan seriatim.series_plan, of_tenant text, number text, field text default null
) returns void language plpgsql as $$
declare
    old record;
    read record;
    taken text;
begin
    if length(number) > plan.max_length then
        perform seriatim.refuse('422', 'counter_exhausted', format(
            'the next number, %s, has %s characters, more than max_length = %s; define a series that replaces %s',
            number, length(number), plan.max_length, plan.name), field);
    end if;
    for old in select p as plan from unnest(plan.olds) with ordinality n (name, i)
        join seriatim.series_plan p on p.name = n.name order by n.i
    loop
        read := seriatim.read_number(old.plan, of_tenant, number);
        continue when read.seq is null;
        select coalesce(e.number, check_number.number) into taken
            from seriatim.counter c left join seriatim.entry e on e.counter = c.no and e.seq = read.seq
            where c.series = (old.plan).name and c.tenant = of_tenant and c.period = read.period
                and c.partition = seriatim.params_text(old.plan, read.vals, false)
                and read.seq between c.first_seq and c.last_seq;
        -- A param that does not split the count made it another number.
        if found and taken = number then
            perform seriatim.refuse('409', 'number_exists', format(
                '%s was already issued or passed over in series %s, which this one replaces; advance the counter past it',
                number, (old.plan).name), field);
        end if;
    end loop;
end $$;

create or replace function seriatim.check_date(plan seriatim.series_plan, date date) returns void language plpgsql as $$
begin
    if not isfinite(date) or not (extract(year from date)::int <@ plan.years
            and seriatim.fiscal_year(plan.fiscal_from, date) <@ plan.years) then
        perform seriatim.refuse('422', 'date_out_of_range', format('series %s takes dates in the years %s to %s; %s is not one',
            plan.name, lower(plan.years), upper(plan.years) - 1, date), '/date');
    end if;
end $$;

-- Takes the next number of the counter that date and params choose, or finds the one that the key stands for. With
-- `replaced` the key is not looked up, for it moves; a rehearsal writes nothing (core: Draft::take, Draft::take_next).
create or replace function seriatim.take(
    of_origin text, of_series text, of_key text, of_tenant text, given_params jsonb, given_date date, with_document text,
    with_reference text, ttl_seconds bigint default null, replaced text default null, rehearsal boolean default false
) returns seriatim.taken language plpgsql as $$
<<mine>>
declare
    plan record;
    held record;
    before seriatim.taken;
    bound boolean;
    vals text[] := '{}';
    params text := '';
    partition text := '';
    period text;
    closed text;
    document bytea;
    now timestamptz;
    today date;
    chosen date;
    seq bigint;
    number text;
    hash bytea;
    at bigint;
    issues int := (of_origin = 'issue')::int;
    kind text := case of_origin when 'issue' then 'issued' else 'reserved' end;
    actor text := 'db:' || session_user;
    on_behalf_of text := nullif(current_setting('seriatim.actor', true), '');
begin
    -- What is nearly always so is asked in few expressions; the rooms behind them say what is the matter.
    if not rehearsal and (current_setting('transaction_isolation') <> 'read committed'
            or current_setting('transaction_read_only') = 'on'
            or not pg_try_advisory_xact_lock_shared(1397053779, hashtext(of_series))) then
        perform seriatim.enter();
        perform seriatim.wait_for_series(of_series);
    end if;
    select p.*, l.no as line, k.counter is not null as is_bound, rehearsal or (
            select f.open and f.system_id = s.system_identifier::text
                and f.timeline = substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)
            from seriatim.fence f, pg_control_system() s) as is_inside
        into plan
        from seriatim.series_plan p
        left join seriatim.line l on l.series = p.name and l.tenant = of_tenant
        left join seriatim.key k on k.line = l.no and k.key = of_key
        where p.name = of_series;
    if plan.is_inside is not true then
        perform seriatim.enter();
    end if;
    bound := plan.is_bound;
    if plan.line is null then
        perform seriatim.check_names(of_series, of_tenant);
    end if;
    if not (coalesce(bound, false) or of_key is null or seriatim.is_key(of_key)) then
        perform seriatim.check_key(of_key);
    end if;
    if with_document is not null then
        perform seriatim.check_document(with_document);
        document := sha256(convert_to(with_document, 'UTF8'));
    end if;
    if with_reference is not null then
        perform seriatim.check_text('reference', with_reference, 255);
    end if;
    if plan.name is null then
        perform seriatim.refuse('404', 'unknown_series', format('there is no series %s', of_series), '/series',
            format('define it first: seriatim series create %s …', of_series));
    end if;
    if plan.params <> '{}' or given_params <> '{}' then
        vals := seriatim.canonical_params(seriatim.plan(of_series), given_params);
        params := seriatim.params_text(seriatim.plan(of_series), vals, true);
        partition := seriatim.params_text(seriatim.plan(of_series), vals, false);
    end if;
    loop
        if replaced is null and (bound or of_key is not null and plan.olds <> '{}') then
            before := seriatim.replay(seriatim.plan(of_series), of_tenant, of_key, of_origin, params, given_date, document);
            if before.counter is not null then
                return before;
            end if;
        end if;
        if plan.replaced_by is not null then
            perform seriatim.refuse('409', 'series_replaced',
                format('series %s was replaced by %s; use that one', plan.name, plan.replaced_by), '/series');
        end if;
        now := seriatim.clock();
        at := seriatim.micros(now);
        today := (now at time zone plan.zone)::date;
        if given_date not between today - plan.days_back and today + plan.days_ahead then
            perform seriatim.refuse('422', 'date_outside_window', format(
                '%s is outside %s to %s, the dates that series %s accepts on %s', given_date, today - plan.days_back,
                today + plan.days_ahead, plan.name, today), '/date', 'correct the date or change date_window');
        end if;
        chosen := coalesce(given_date, today);
        if not isfinite(chosen) or not (extract(year from chosen)::int <@ plan.years
                and seriatim.fiscal_year(plan.fiscal_from, chosen) <@ plan.years) then
            perform seriatim.check_date(seriatim.plan(of_series), chosen);
        end if;
        period := seriatim.period_of(plan.reset, plan.fiscal_from, chosen);
        if rehearsal then
            select c.*, x.reason as closed into held
                from (select 1) one
                left join seriatim.counter c on c.series = of_series and c.tenant = of_tenant
                    and c.period = mine.period and c.partition = mine.partition
                left join seriatim.closure x on x.series = of_series and x.tenant = of_tenant
                    and x.period = mine.period and x.closed;
            closed := held.closed;
        else
            -- Free, as nearly always: locked without waiting.
            select c.no, c.line, c.last_seq, c.last_date, c.length, c.head, (select x.reason from seriatim.closure x where x.series = c.series and x.tenant = c.tenant
                        and x.period = c.period and x.closed) as closed into held
                from seriatim.counter c
                where c.series = of_series and c.tenant = of_tenant and c.period = mine.period
                    and c.partition = mine.partition
                for update skip locked;
            if not found then
                closed := seriatim.closed_because(of_series, of_tenant, period);
                if closed is null then
                    perform seriatim.wait_for_counter(of_series, of_tenant, partition, period, plan.start);
                    -- It is ours now; but we waited, perhaps past midnight, perhaps for a twin with our key.
                    bound := of_key is not null;
                    continue;
                end if;
            else
                closed := held.closed;
            end if;
        end if;
        if closed is not null then
            perform seriatim.refuse('409', 'period_closed', format('period %s of series %s is closed (%s)', period,
                plan.name, closed), '/date', 'reopen it or give a date in an open period');
        end if;
        -- A date that nobody gave does not run backwards either.
        if plan.dates_in_order and held.last_date > chosen then
            if given_date is not null then
                perform seriatim.refuse('422', 'date_order', format(
                    '%s is before %s, the date of the number before it; series %s keeps dates in order', given_date,
                    held.last_date, plan.name), '/date');
            end if;
            chosen := held.last_date;
        end if;
        if coalesce(held.last_seq >= plan.seq_max, false) then
            perform seriatim.refuse('422', 'counter_exhausted', format(
                'the counter %s of series %s has taken its last seq, %s', period, plan.name, held.last_seq),
                hint => 'raise the limit, set overflow = "widen" or define a series that replaces it');
        end if;
        seq := coalesce(held.last_seq + 1, plan.start);
        number := seriatim.render(plan.template, plan.width, plan.fiscal_from, of_tenant, vals, chosen, seq);
        if length(number) > plan.max_length or plan.olds <> '{}' then
            perform seriatim.check_number(seriatim.plan(of_series), of_tenant, number);
        end if;
        if rehearsal then
            return (held.no, seq, number, false, '{}')::seriatim.taken;
        end if;
        if of_key is not null and replaced is null then
            insert into seriatim.key (line, key, counter, seq, count) values (held.line, of_key, held.no, seq, 1)
                on conflict do nothing;
            -- A twin bound it on another counter in the meantime.
            bound := not found;
            continue when bound;
        end if;
        exit;
    end loop;

    if on_behalf_of is not null or not seriatim.is_printable(actor) then
        perform seriatim.check_actors(actor, on_behalf_of);
    end if;
    hash := seriatim.event_hash(held.head, kind, seq, null, number, chosen, of_key, nullif(params, ''), with_reference,
        at + ttl_seconds * 1000000, replaced, null, null, document, actor, on_behalf_of, at, null);
    update seriatim.counter c set
        last_seq = mine.seq, last_date = greatest(c.last_date, chosen), issued = c.issued + issues,
        reserved = c.reserved + 1 - issues, length = held.length + 1, head = mine.hash
        where c.no = held.no;
    insert into seriatim.entry (counter, seq, line, number, state, origin, date, key, params, reference, document,
        document_sha256, taken_at, issued_at, expires_at, replaces, position, hash)
    values (held.no, mine.seq, held.line, mine.number, mine.kind, of_origin, chosen, of_key, nullif(mine.params, ''),
        with_reference, with_document, mine.document, mine.at, case issues when 1 then mine.at end,
        mine.at + ttl_seconds * 1000000, replaced, held.length + 1, mine.hash);
    insert into seriatim.event (chain, position, kind, seq, number, date, key, params, reference, expires_at, link,
        document, actor, on_behalf_of, at, hash)
    values (held.no, held.length + 1, mine.kind, mine.seq, mine.number, chosen, of_key, nullif(mine.params, ''),
        with_reference, mine.at + ttl_seconds * 1000000, replaced, mine.document, mine.actor, mine.on_behalf_of,
        mine.at, mine.hash);
    return (held.no, seq, number, false, '{}')::seriatim.taken;
end $$;
