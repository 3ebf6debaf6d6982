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
    perform seriatim.check_actors('db:' || session_user, null);
    -- A session stays on its cluster and its timeline and keeps its user, and it is dear to look at them for each number.
    perform set_config('seriatim.entered', seriatim.open_on(f) || ' ' || session_user, false) from seriatim.fence f;
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

-- What is left of the time that a caller waits, for the next of his waits; for ever if there is no end.
create or replace function seriatim.wait_until(until timestamptz) returns void language plpgsql as $$
begin
    if until is not null then
        perform set_config('lock_timeout',
            greatest(ceil(extract(epoch from until - clock_timestamp()) * 1000), 1)::bigint || 'ms', true);
    end if;
end $$;

-- Waits for a lock of its own class until the transaction ends, or tells the caller that it took too long.
create or replace function seriatim.queue_up(class int, name text, busy text) returns void language plpgsql as $$
begin
    perform pg_advisory_xact_lock(class, hashtext(name));
exception
    when lock_not_available or deadlock_detected then
        perform seriatim.refuse('503', 'counter_busy', busy);
end $$;

-- Waits until nobody holds the counter, and lets go of it again; false if there is none. The caller locks it himself: what
-- a subtransaction locks and its transaction changes carries both their ids, and PostgreSQL forgets such versions of a
-- row late.
create or replace function seriatim.wait_for_holder(counter text, busy text) returns boolean language plpgsql as $$
declare
    is_there boolean;
begin
    perform from seriatim.counter c where c.id = counter for update;
    is_there := found;
    raise exception using errcode = 'SR000', message = 'the counter is free';
exception
    when sqlstate 'SR000' then
        return is_there;
    when lock_not_available or deadlock_detected then
        perform seriatim.refuse('503', 'counter_busy', busy);
end $$;

-- Where a tenant's keys and numbers of a series are: whoever is first has it to himself until he commits.
create or replace function seriatim.bear_line(of_series text, of_tenant text) returns void language plpgsql as $$
begin
    insert into seriatim.line (series, tenant) values (of_series, of_tenant) on conflict do nothing;
exception
    when lock_not_available or deadlock_detected then
        perform seriatim.refuse('503', 'counter_busy', format(
            'another transaction takes the first number of tenant %s in series %s; try again', of_tenant, of_series));
end $$;

-- The counter, locked; born if there is none. Waits for another's transaction, but not for ever: in a queue of those who
-- wait, whose first waits for the holder.
create or replace function seriatim.wait_for_counter(
    of_series text, of_tenant text, of_partition text, of_period text, start bigint
) returns void language plpgsql set lock_timeout = '3s' as $$
declare
    genesis bytea := seriatim.counter_genesis(of_series, of_tenant, of_partition, of_period);
    of_id text := seriatim.counter_id(genesis);
    busy text := format('another transaction holds the counter %s of series %s; try again', of_period, of_series);
    until timestamptz := clock_timestamp() + nullif(current_setting('lock_timeout'), '0')::interval;
    has_queued boolean := false;
    may_bear boolean := false;
begin
    loop
        perform from seriatim.counter c where c.id = of_id for update skip locked;
        if found then
            return;
        elsif clock_timestamp() > until then
            perform seriatim.refuse('503', 'counter_busy', busy);
        end if;
        perform seriatim.wait_until(until);
        if not has_queued then
            perform seriatim.queue_up(1397053783, of_id, busy);
            has_queued := true;
        elsif not seriatim.wait_for_holder(of_id, busy) then
            exit when may_bear;
            perform seriatim.queue_up(1397053781, of_id, busy);
            may_bear := true;
        end if;
    end loop;
    perform seriatim.wait_until(until);
    perform seriatim.bear_line(of_series, of_tenant);
    insert into seriatim.counter (id, series, tenant, partition, period, line, first_seq, last_seq, issued, reserved,
            voided, missing, length, head)
        select of_id, of_series, of_tenant, of_partition, of_period, l.no, start, start - 1,
            0, 0, 0, 0, 0, genesis
        from seriatim.line l where l.series = of_series and l.tenant = of_tenant;
end $$;

-- Takes a counter away again that was born for an answer which needed none, for it holds nothing; whoever waits for it bears
-- it anew. The caller has it locked.
create or replace function seriatim.leave_counter(of_series text, of_tenant text, of_partition text, of_period text)
    returns void language plpgsql as $$
begin
    delete from seriatim.counter c
        where c.series = of_series and c.tenant = of_tenant and c.period = of_period and c.partition = of_partition
            and c.length = 0;
end $$;

create or replace function seriatim.check_open(
    of_series text, of_tenant text, of_period text, field text default '/date',
    hint text default 'reopen it or give a date in an open period'
) returns void language plpgsql as $$
declare
    why text;
begin
    select c.reason into why from seriatim.closure c
        where c.series = of_series and c.tenant = of_tenant and c.period = of_period and c.closed;
    if found then
        perform seriatim.refuse('409', 'period_closed', format('period %s of series %s is closed (%s)', of_period,
            of_series, why), field, hint);
    end if;
end $$;

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
        elsif jsonb_typeof(given -> plan.params[i]) not in ('string', 'number') then
            perform seriatim.refuse('400', 'wrong_type', format('param `%s` must be a text or a number', plan.params[i]),
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
    issued text;
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
        select coalesce(e.number, check_number.number), e.number into taken, issued
            from seriatim.counter c left join seriatim.entry e on e.counter = c.no and e.seq = read.seq
            where c.series = (old.plan).name and c.tenant = of_tenant and c.period = read.period
                and c.partition = seriatim.params_text(old.plan, read.vals, false)
                and read.seq between c.first_seq and c.last_seq;
        -- A param that does not split the count made it another number.
        if found and taken = number then
            perform seriatim.refuse('409', 'number_exists', format(
                '%s was already issued or passed over in series %s, which this one replaces; advance the counter past it',
                number, (old.plan).name), field, null, array_remove(array[issued], null));
        end if;
    end loop;
end $$;

create or replace function seriatim.check_date(plan seriatim.series_plan, date date, field text default '/date')
returns void language plpgsql as $$
begin
    if date not between plan.first_date and plan.last_date then
        perform seriatim.refuse('422', 'date_out_of_range', format('series %s takes dates from %s to %s; %s is not one',
            plan.name, plan.first_date, plan.last_date, date), field);
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
    -- Of the plan: single values, for a record of all of them costs as much as to read it.
    zone text; days_back int; days_ahead int; shape text; fiscal_from int; first_date date; last_date date;
    closed_to text; dates_in_order boolean; start bigint; seq_max bigint; template text; width int; max_length int;
    replaced_by text; has_params boolean; has_olds boolean; is_inside boolean;
    -- Of the counter.
    counter bigint; line bigint; last_seq bigint; last_dated date; height bigint; head bytea;
    before seriatim.taken;
    bound boolean;
    vals text[];
    params text;
    partition text := '';
    period text;
    waited_in text;
    document bytea;
    now timestamptz;
    today date;
    chosen date;
    seq bigint;
    number text;
    digits text;
    has_more boolean;
    given text;
    hash bytea;
    at bigint;
    expires_at bigint;
    issues int := (of_origin = 'issue')::int;
    kind text := case of_origin when 'issue' then 'issued' else 'reserved' end;
    actor text := 'db:' || session_user;
    on_behalf_of text := nullif(current_setting('seriatim.actor', true), '');
    behalf text;
begin
    -- What is nearly always so is asked in few expressions; the rooms behind them say what is the matter.
    if not rehearsal and (current_setting('transaction_isolation') <> 'read committed'
            or current_setting('transaction_read_only') = 'on'
            or not pg_try_advisory_xact_lock_shared(1397053779, hashtext(of_series))) then
        perform seriatim.enter();
        perform seriatim.wait_for_series(of_series);
    end if;
    select p.zone, p.days_back, p.days_ahead, p.period, p.fiscal_from, p.first_date, p.last_date, p.closed_to,
            p.dates_in_order, p.start, p.seq_max, p.template, p.width, p.max_length, p.replaced_by, p.params <> '{}',
            p.olds <> '{}', p.fence || ' ' || session_user = current_setting('seriatim.entered', true)
        into zone, days_back, days_ahead, shape, fiscal_from, first_date, last_date, closed_to, dates_in_order, start,
            seq_max, template, width, max_length, replaced_by, has_params, has_olds, is_inside
        from seriatim.series_plan p
        where p.name = of_series;
    -- Neither is there a series if this is null.
    if (is_inside and (of_tenant = 'default' or seriatim.is_tenant(of_tenant))) is not true then
        if not rehearsal and is_inside is not true then
            perform seriatim.enter();
        end if;
        if zone is null or seriatim.is_tenant(of_tenant) is not true then
            perform seriatim.check_names(of_series, of_tenant);
        end if;
    end if;
    if of_key is not null then
        perform from seriatim.key k
            where k.line = (select l.no from seriatim.line l where l.series = of_series and l.tenant = of_tenant)
                and k.key = of_key;
        bound := found;
        if not (bound or seriatim.is_key(of_key)) then
            perform seriatim.check_key(of_key);
        end if;
        bound := bound or has_olds;
    end if;
    if zone is null or with_document is not null or with_reference is not null or has_params or given_params <> '{}'
            or ttl_seconds is not null or replaced is not null then
        has_more := true;
        if with_document is not null then
            perform seriatim.check_document(with_document);
            document := sha256(convert_to(with_document, 'UTF8'));
        end if;
        if with_reference is not null then
            perform seriatim.check_text('reference', with_reference, 255);
        end if;
        if zone is null then
            perform seriatim.refuse('404', 'unknown_series', format('there is no series %s', of_series), '/series',
                format('define it first: seriatim series create %s …', of_series));
        end if;
        if has_params or given_params <> '{}' then
            vals := seriatim.canonical_params(seriatim.plan(of_series), given_params);
            params := nullif(seriatim.params_text(seriatim.plan(of_series), vals, true), '');
            partition := seriatim.params_text(seriatim.plan(of_series), vals, false);
        end if;
    end if;
    loop
        if bound or replaced_by is not null then
            if bound and replaced is null then
                before := seriatim.replay(seriatim.plan(of_series), of_tenant, of_key, of_origin, coalesce(params, ''),
                    given_date, document);
                if before.counter is not null then
                    if waited_in is not null then
                        perform seriatim.leave_counter(of_series, of_tenant, partition, waited_in);
                    end if;
                    return before;
                end if;
            end if;
            if replaced_by is not null then
                perform seriatim.refuse('409', 'series_replaced',
                    format('series %s was replaced by %s; use that one', of_series, replaced_by),
                    case when replaced is null then '/series' else '/reissue' end);
            end if;
        end if;
        now := seriatim.clock();
        at := seriatim.micros(now);
        chosen := (now at time zone zone)::date;
        if given_date is not null or chosen not between first_date and last_date then
            today := chosen;
            chosen := coalesce(given_date, today);
            if chosen <> today and chosen not between today - days_back and today + days_ahead then
                perform seriatim.refuse('422', 'date_outside_window', format(
                    '%s is outside %s to %s, the dates that series %s accepts on %s', chosen, today - days_back,
                    today + days_ahead, of_series, today), '/date', 'correct the date or change date_window');
            end if;
            if chosen not between first_date and last_date then
                perform seriatim.check_date(seriatim.plan(of_series), chosen,
                    case when replaced is null then '/date' else '/reissue' end);
            end if;
        end if;
        period := seriatim.period_of(shape, fiscal_from, chosen);
        -- Nobody closes or reopens while we share the series.
        if period collate "C" <= closed_to then
            if replaced is null then
                perform seriatim.check_open(of_series, of_tenant, period);
            else
                perform seriatim.check_open(of_series, of_tenant, period, '/reissue', 'reopen it first');
            end if;
        end if;
        if rehearsal then
            select c.no, c.last_seq, c.last_date into counter, last_seq, last_dated from seriatim.counter c
                where c.series = of_series and c.tenant = of_tenant and c.period = mine.period
                    and c.partition = mine.partition;
        else
            -- Free, as nearly always: locked without waiting.
            select c.no, c.line, c.last_seq, c.last_date, c.length, c.head
                into counter, line, last_seq, last_dated, height, head
                from seriatim.counter c
                where c.series = of_series and c.tenant = of_tenant and c.period = mine.period
                    and c.partition = mine.partition
                for update skip locked;
            if not found then
                perform seriatim.wait_for_counter(of_series, of_tenant, partition, period, start);
                -- It is ours now; but we waited, perhaps past midnight, perhaps for a twin with our key.
                waited_in := period;
                if given_date is null
                    and seriatim.period_of(shape, fiscal_from, (seriatim.clock() at time zone zone)::date) <> period then
                    perform seriatim.leave_counter(of_series, of_tenant, partition, period);
                end if;
                bound := of_key is not null;
                continue;
            end if;
        end if;
        if last_seq >= seq_max or dates_in_order and last_dated > chosen then
            -- A date that nobody gave does not run backwards either.
            if dates_in_order and last_dated > chosen then
                if given_date is not null then
                    perform seriatim.refuse('422', 'date_order', format(
                        '%s is before %s, the date of the number before it; series %s keeps dates in order', given_date,
                        last_dated, of_series), '/date');
                end if;
                chosen := last_dated;
            end if;
            if last_seq >= seq_max then
                perform seriatim.refuse('422', 'counter_exhausted', format(
                    'the counter %s of series %s has no seq after %s', period, of_series, last_seq),
                    case when replaced is not null then '/reissue' end,
                    case when seriatim.end_for_ever(seriatim.plan(of_series), of_tenant, vals, chosen, last_seq) is null
                        then 'raise the limit, set overflow = "widen" or define a series that replaces it'
                        else 'define a series that replaces it' end);
            end if;
        end if;
        seq := coalesce(last_seq + 1, start);
        digits := seq;
        if fiscal_from = 0 and not has_params then
            number := seriatim.render_plain(template, width, of_tenant, chosen, digits);
        else
            number := seriatim.render(template, width, fiscal_from, of_tenant, coalesce(vals, '{}'), chosen, digits);
        end if;
        if rehearsal or has_olds or length(number) > max_length then
            perform seriatim.check_number(seriatim.plan(of_series), of_tenant, number,
                case when replaced is not null then '/reissue' end);
            if rehearsal then
                return (counter, seq, number, false, '{}')::seriatim.taken;
            end if;
        end if;
        if of_key is not null and replaced is null then
            insert into seriatim.key (line, key, counter, seq, count) values (mine.line, of_key, mine.counter, mine.seq, 1)
                on conflict do nothing;
            -- A twin bound it on another counter in the meantime.
            bound := not found;
            continue when bound;
            given := length(of_key) || ':' || of_key || '-------';
        end if;
        exit;
    end loop;

    if has_more or on_behalf_of is not null then
        if on_behalf_of is not null then
            perform seriatim.check_actors(actor, on_behalf_of);
            behalf := seriatim.field(on_behalf_of);
        end if;
        if has_more then
            expires_at := at + ttl_seconds * 1000000;
            given := seriatim.given_fields(of_key, params, with_reference, expires_at, replaced, document);
        end if;
    end if;
    hash := seriatim.taken_hash(head, kind, digits, number, chosen, coalesce(given, '--------'), actor,
        coalesce(behalf, '-'), at);
    update seriatim.counter c set
        last_seq = mine.seq, last_date = greatest(c.last_date, chosen), issued = c.issued + issues,
        reserved = c.reserved + 1 - issues, length = height + 1, head = hash
        where c.no = mine.counter;
    insert into seriatim.entry (counter, seq, line, number, state, origin, date, key, params, reference, document,
        document_sha256, taken_at, issued_at, expires_at, replaces, position, hash)
    values (mine.counter, mine.seq, mine.line, mine.number, kind, of_origin, chosen, of_key, mine.params,
        with_reference, with_document, mine.document, at, case issues when 1 then at end, mine.expires_at, replaced,
        height + 1, mine.hash);
    insert into seriatim.event (chain, position, kind, seq, number, date, key, params, reference, expires_at, link,
        document, actor, on_behalf_of, at, hash)
    values (mine.counter, height + 1, mine.kind, mine.seq, mine.number, chosen, of_key, mine.params, with_reference,
        mine.expires_at, replaced, mine.document, mine.actor, mine.on_behalf_of, mine.at, mine.hash);
    return (counter, seq, number, false, '{}')::seriatim.taken;
end $$;
