-- The SQL door, 5 of 9: numbers from elsewhere, and what becomes of a number (core: decide/adopt.rs, decide/spend.rs).

-- Two series of a line bind a key apart, so nobody takes numbers in the later ones until this transaction ends.
create or replace function seriatim.lock_later_series(of_series text) returns void language plpgsql
    set lock_timeout = '3s' as $$
begin
    perform pg_advisory_xact_lock(1397053779, hashtext(o.name)) from (
        select p.name from seriatim.series_plan p where of_series = any (p.olds) order by p.name offset 0
    ) o;
exception
    when lock_not_available or deadlock_detected then
        perform seriatim.refuse('503', 'counter_busy', format(
            'another transaction takes numbers in a series that replaced %s; try again', of_series));
end $$;

-- A gap of a series that was replaced can still be filled; its key may stand for a number of a later one.
create or replace function seriatim.refuse_later_key(of_series text, of_tenant text, of_key text) returns void
    language plpgsql as $$
declare
    taken text;
begin
    perform seriatim.lock_later_series(of_series);
    select e.number into taken
        from seriatim.series_plan p
        join seriatim.line l on l.series = p.name and l.tenant = of_tenant
        join seriatim.key k on k.line = l.no and k.key = of_key
        join seriatim.entry e on e.counter = k.counter and e.seq = k.seq
        where of_series = any (p.olds)
        limit 1;
    if found then
        perform seriatim.refuse('422', 'key_reused', format(
            'this key stands for %s already; adopt each number with a key of its own', taken), '/key', null, array[taken]);
    end if;
end $$;

-- Records a number that was issued elsewhere; what is passed over on the way becomes missing.
create or replace function seriatim.take_from_elsewhere(
    of_series text, number text, date date, of_key text, of_tenant text, with_document text, with_reference text
) returns seriatim.taken language plpgsql as $$
<<mine>>
declare
    plan seriatim.series_plan;
    counter seriatim.counter;
    event seriatim.event;
    appended record;
    before seriatim.taken;
    run seriatim.missing;
    read record;
    params text;
    partition text;
    period text;
    document bytea := sha256(convert_to(with_document, 'UTF8'));
    now timestamptz;
    today date;
    printed text;
    what text;
begin
    perform seriatim.enter();
    perform seriatim.share_series(of_series);
    perform seriatim.check_names(of_series, of_tenant);
    if of_key is not null then
        perform seriatim.check_key(of_key);
    end if;
    if date is null then
        perform seriatim.refuse('400', 'invalid_date', 'the date of the document is missing', '/date');
    end if;
    if with_document is not null then
        perform seriatim.check_document(with_document);
    end if;
    if with_reference is not null then
        perform seriatim.check_text('reference', with_reference, 255);
    end if;
    select * into plan from seriatim.series_plan p where p.name = of_series;
    if not found then
        perform seriatim.refuse('404', 'unknown_series', format('there is no series %s', of_series), '/series');
    end if;
    perform seriatim.check_date(plan, date);

    -- It must be exactly what the series would print on that date.
    read := seriatim.read_number(plan, of_tenant, number);
    printed := seriatim.render(plan.template, plan.width, plan.fiscal_from, of_tenant, read.vals, date, read.seq::text);
    what := case
        when read.seq is null then format('its format cannot print `%s`', left(number, 64))
        when printed <> number then format('on %s it prints %s, not `%s`', date, printed, left(number, 64))
        when length(number) > plan.max_length then format('%s is longer than max_length = %s', left(number, 64), plan.max_length)
        when read.seq not between plan.start and plan.seq_max then
            format('seq %s is not between %s and %s', read.seq, plan.start, plan.seq_max)
    end;
    if what is not null or number is null then
        perform seriatim.refuse('422', 'number_does_not_fit', format('series %s: %s', plan.name, coalesce(what, 'no number')), '/number');
    end if;
    params := seriatim.params_text(plan, read.vals, true);
    partition := seriatim.params_text(plan, read.vals, false);
    period := seriatim.period_of(plan.period, plan.fiscal_from, date);

    for round in 1..2 loop
        if of_key is not null then
            before := seriatim.replay(plan, of_tenant, of_key, 'adopt', params, date, document);
            if before.counter is not null and before.number <> number then
                perform seriatim.refuse('422', 'key_reused', format(
                    'this key stands for %s already; adopt each number with a key of its own', before.number), '/key', null,
                    array[before.number]);
            elsif before.counter is not null then
                return before;
            end if;
            if plan.replaced_by is not null then
                perform seriatim.refuse_later_key(of_series, of_tenant, of_key);
            end if;
        end if;
        -- The second time a twin had bound the key while we waited.
        exit when round = 2;
        -- What is moved in may be as old as it is; but a typo must not open a counter decades ahead.
        today := (seriatim.clock() at time zone plan.zone)::date;
        if date > today + plan.days_ahead then
            perform seriatim.refuse('422', 'date_outside_window', format(
                '%s is outside %s to %s, the dates that series %s accepts on %s', date, today - plan.days_back,
                today + plan.days_ahead, of_series, today), '/date', 'correct the date or change date_window');
        end if;
        perform seriatim.check_open(of_series, of_tenant, period);
        perform seriatim.wait_for_counter(of_series, of_tenant, partition, period, plan.start);
        select * into counter from seriatim.counter c
            where c.series = of_series and c.tenant = of_tenant and c.period = mine.period
                and c.partition = mine.partition;
        if of_key is not null then
            insert into seriatim.key (line, key, counter, seq, count)
                values (counter.line, of_key, counter.no, read.seq, 1) on conflict do nothing;
            continue when not found;
        end if;
        exit;
    end loop;

    perform seriatim.check_number(plan, of_tenant, number, '/number');
    now := seriatim.clock();
    if read.seq > counter.last_seq then
        if plan.replaced_by is not null then
            perform seriatim.refuse('409', 'series_replaced',
                format('series %s was replaced by %s; use that one', plan.name, plan.replaced_by), '/series');
        end if;
        -- A slip of a digit must not end a counter; where a limit or overflow ends it, that is meant (core: require_next).
        if read.seq <> plan.seq_max or read.seq = 9223372036854775807 then
            what := seriatim.end_for_ever(plan, of_tenant, read.vals, date, read.seq);
        end if;
        if what is not null then
            perform seriatim.refuse('422', 'counter_exhausted',
                format('after %s series %s could print no number: %s', read.seq, plan.name, what), '/number',
                case when read.seq < 9223372036854775807
                    then format('if its numbers are to end there, set limit = %s first', read.seq) end);
        elsif plan.dates_in_order and date < counter.last_date then
            perform seriatim.refuse('422', 'date_order', format(
                '%s is before %s, the date of the number before it; series %s keeps dates in order', date,
                counter.last_date, plan.name), '/date');
        end if;
        if read.seq > counter.last_seq + 1 then
            event := seriatim.new_event('missing', now);
            event.seq := counter.last_seq + 1;
            event.seq_last := read.seq - 1;
            event.reason := left(format('not issued before %s was adopted', number), 1000);
            insert into seriatim.missing (counter, first, last, reason)
                values (counter.no, event.seq, event.seq_last, event.reason);
            counter.missing := counter.missing + event.seq_last - event.seq + 1;
            appended := seriatim.append(counter, event);
            counter := appended.counter;
        end if;
        counter.last_seq := read.seq;
    else
        select * into run from seriatim.missing m
            where m.counter = counter.no and m.first <= read.seq and m.last >= read.seq;
        if not found then
            select e.number, case
                    when e.key <> of_key then format(', for key %s and not for %s; the document of %s needs a number of its own',
                        e.key, of_key, of_key)
                    when e.key is null and of_key is not null then format(', without a key and not for %s; adopt it without one', of_key)
                end into printed, what
                from seriatim.entry e where e.counter = counter.no and e.seq = read.seq;
            perform seriatim.refuse('409', 'number_exists', format('%s exists already in series %s%s', number, plan.name, what),
                '/number', null, array_remove(array[printed], null));
        elsif plan.dates_in_order then
            perform seriatim.refuse('422', 'date_order', format(
                'series %s keeps dates in order, so numbers are adopted in the order of their seq; %s comes after %s',
                plan.name, number, counter.last_seq), '/number');
        end if;
        delete from seriatim.missing m where m.counter = counter.no and m.first = run.first;
        insert into seriatim.missing (counter, first, last, reason)
            select counter.no, rest.first, rest.last, run.reason
            from (values (run.first, read.seq - 1), (read.seq + 1, run.last)) rest (first, last)
            where rest.first <= rest.last;
        counter.missing := counter.missing - 1;
    end if;
    counter.last_date := greatest(counter.last_date, date);
    counter.issued := counter.issued + 1;
    event := seriatim.new_event('adopted', now);
    event.seq := read.seq;
    event.number := number;
    event.date := date;
    event.key := of_key;
    event.params := nullif(params, '');
    event.reference := with_reference;
    event.document := document;
    appended := seriatim.append(counter, event);
    event := appended.event;
    perform seriatim.write_counter(appended.counter);
    insert into seriatim.entry (counter, seq, line, number, state, origin, date, key, params, reference, document,
        document_sha256, taken_at, issued_at, position, hash)
    values (counter.no, read.seq, counter.line, number, 'issued', 'adopt', date, of_key, event.params, with_reference,
        with_document, document, event.at, event.at, event.position, event.hash);
    return (counter.no, read.seq, number, false, '{}')::seriatim.taken;
end $$;

-- The entry of an id, with its counter locked and its series shared.
create or replace function seriatim.hold_entry(id text) returns seriatim.entry language plpgsql as $$
declare
    of_counter seriatim.counter;
    held seriatim.entry;
begin
    perform seriatim.enter();
    if (case
        when id ~ '^ent_[0-9a-hjkmnp-tv-z]{16}_[1-9][0-9]{0,18}$' then
            split_part(id, '_', 3)::numeric > 9223372036854775807
        else true
    end) then
        perform seriatim.refuse('400', 'invalid_id', format('`%s` is not an entry id; it looks like ent_0123456789abcdef_42',
            left(id, 64)), '/id');
    end if;
    select * into of_counter from seriatim.counter c where c.id = split_part(hold_entry.id, '_', 2);
    if found then
        perform seriatim.share_series(of_counter.series);
        perform seriatim.wait_for_counter(of_counter.series, of_counter.tenant, of_counter.partition, of_counter.period,
            of_counter.first_seq);
        held := seriatim.find_entry(id);
    end if;
    if held.counter is null then
        perform seriatim.refuse('404', 'unknown_entry', format('there is no entry %s', id), '/id');
    end if;
    return held;
end $$;

-- Writes an entry that changed, with its event and its counter (core: Draft::change).
create or replace function seriatim.change_entry(entry seriatim.entry, event seriatim.event, was text) returns void language plpgsql as $$
declare
    counter seriatim.counter;
    appended record;
begin
    select * into counter from seriatim.counter c where c.no = entry.counter;
    counter.reserved := counter.reserved - (was = 'reserved')::int;
    counter.issued := counter.issued - (was = 'issued')::int + (entry.state = 'issued')::int;
    counter.voided := counter.voided + (entry.state = 'voided')::int;
    event.seq := entry.seq;
    event.number := entry.number;
    -- Every event carries the hash of the document as it leaves it, so that the latest one vouches for it.
    event.document := entry.document_sha256;
    appended := seriatim.append(counter, event);
    event := appended.event;
    perform seriatim.write_counter(appended.counter);
    update seriatim.entry e set
        state = entry.state, document = entry.document, document_sha256 = entry.document_sha256,
        issued_at = entry.issued_at, voided_at = entry.voided_at, reason_code = entry.reason_code,
        reason = entry.reason, replacement = entry.replacement, position = event.position, hash = event.hash
    where e.no = entry.no;
end $$;

-- Whoever voids again after a lost answer must hear of the replacement: say both (core: Draft::refuse_void).
create or replace function seriatim.refuse_void(entry seriatim.entry, code text) returns void language plpgsql as $$
declare
    other text := (select e.number from seriatim.find_entry(entry.replacement) e);
begin
    perform seriatim.refuse('409', code, format('%s is void already (%s)%s', entry.number, entry.reason,
        '; its replacement is ' || other), '/id', null, array_remove(array[entry.number, other], null));
end $$;

create or replace function seriatim.do_confirm(id text, with_document text) returns seriatim.taken language plpgsql as $$
declare
    entry seriatim.entry;
    event seriatim.event;
    now timestamptz;
    expiry_voids boolean;
begin
    if with_document is not null then
        perform seriatim.check_document(with_document);
    end if;
    entry := seriatim.hold_entry(id);
    now := seriatim.clock();
    select p.expiry_voids into expiry_voids from seriatim.series_plan p join seriatim.line l on l.series = p.name
        where l.no = entry.line;
    if entry.state = 'voided' then
        perform seriatim.refuse_void(entry, 'voided');
    elsif entry.state = 'issued' and entry.origin <> 'reserve' then
        perform seriatim.refuse('409', 'not_reserved', format(
            '%s was issued at once and never reserved; nothing to confirm', entry.number), '/id', null, array[entry.number]);
    elsif entry.state = 'issued' then
        if sha256(convert_to(with_document, 'UTF8')) is distinct from entry.document_sha256 and with_document is not null then
            perform seriatim.refuse('409', 'already_issued', format(
                '%s is confirmed already, with another document; void it and issue anew', entry.number), '/document', null,
                array[entry.number]);
        end if;
        perform pg_logical_emit_message(true, 'seriatim', 'replayed');
        return (entry.counter, entry.seq, entry.number, true, '{}')::seriatim.taken;
    elsif expiry_voids and entry.expires_at <= seriatim.micros(now) then
        perform seriatim.refuse('409', 'reservation_expired', format(
            'the reservation of %s is over and its number will be void; issue a new one', entry.number), '/id', null,
            array[entry.number]);
    end if;
    event := seriatim.new_event('confirmed', now);
    entry.state := 'issued';
    entry.issued_at := event.at;
    if with_document is not null then
        entry.document := with_document;
        entry.document_sha256 := sha256(convert_to(with_document, 'UTF8'));
    end if;
    perform seriatim.change_entry(entry, event, 'reserved');
    return (entry.counter, entry.seq, entry.number, false, '{}')::seriatim.taken;
end $$;

create or replace function seriatim.do_release(id text, why text) returns seriatim.taken language plpgsql as $$
declare
    entry seriatim.entry;
    event seriatim.event;
begin
    perform seriatim.check_text('reason', coalesce(why, ''), 1000);
    entry := seriatim.hold_entry(id);
    if entry.state = 'voided' then
        perform seriatim.refuse_void(entry, 'already_voided');
    elsif entry.state = 'issued' then
        perform seriatim.refuse('409', 'not_reserved', format(
            '%s is issued, so it cannot be released; void it with a reason', entry.number), '/id', null, array[entry.number]);
    end if;
    event := seriatim.new_event('released', seriatim.clock());
    perform seriatim.spend(entry, event, 'released', why, null);
    return (entry.counter, entry.seq, entry.number, false, '{}')::seriatim.taken;
end $$;

-- core: Draft::spend.
create or replace function seriatim.spend(
    entry seriatim.entry, event seriatim.event, code text, why text, replacement text
) returns void language plpgsql as $$
declare
    was text := entry.state;
begin
    event.reason_code := code;
    event.reason := why;
    event.link := replacement;
    -- The chain tells that the key moved to the replacement.
    event.key := case when replacement is not null then entry.key end;
    entry.state := 'voided';
    entry.voided_at := event.at;
    entry.reason_code := code;
    entry.reason := why;
    entry.replacement := replacement;
    perform seriatim.change_entry(entry, event, was);
end $$;

-- Locks the counter of an entry and the one where its replacement will stand, in the order of their ids, as all do.
create or replace function seriatim.wait_for_reissue(id text) returns void language plpgsql as $$
declare
    held seriatim.counter;
begin
    for held in
        select c.* from seriatim.counter c
        where c.no in (
            select old.no from seriatim.counter old where old.id = split_part(wait_for_reissue.id, '_', 2)
            union all
            select other.no from seriatim.counter old
                join seriatim.series_plan p on p.name = old.series
                join seriatim.counter other on other.series = old.series and other.tenant = old.tenant
                    and other.partition = old.partition and other.period = seriatim.period_of(
                        p.period, p.fiscal_from, (seriatim.clock() at time zone p.zone)::date)
            where old.id = split_part(wait_for_reissue.id, '_', 2))
        order by c.id
    loop
        perform seriatim.wait_for_counter(held.series, held.tenant, held.partition, held.period, held.first_seq);
    end loop;
end $$;

create or replace function seriatim.do_void(id text, why text, code text, reissue boolean) returns seriatim.taken language plpgsql as $$
declare
    entry seriatim.entry;
    counter seriatim.counter;
    next seriatim.taken;
    replacement text;
    given jsonb;
begin
    if coalesce(code not in ('spoiled', 'duplicate', 'rejected', 'cancelled', 'other'), true) then
        perform seriatim.refuse('400', 'invalid_text', format(
            'unknown reason code `%s`; use one of spoiled, duplicate, rejected, cancelled, other', left(code, 64)), '/reason_code');
    end if;
    perform seriatim.check_text('reason', coalesce(why, ''), 1000);
    if reissue then
        perform seriatim.enter();
        perform seriatim.share_series(c.series) from seriatim.counter c where c.id = split_part(do_void.id, '_', 2);
        perform seriatim.wait_for_reissue(id);
    end if;
    entry := seriatim.hold_entry(id);
    select * into counter from seriatim.counter c where c.no = entry.counter;
    if entry.state = 'voided' then
        perform seriatim.refuse_void(entry, 'already_voided');
    end if;
    perform seriatim.check_open(counter.series, counter.tenant, counter.period, '/id', 'reopen it first');
    if reissue then
        if (select k.count from seriatim.key k where k.line = entry.line and k.key = entry.key) > 1 then
            perform seriatim.refuse('409', 'key_shared', format(
                '%s shares its key with other numbers, so the key cannot move; void it without reissue', entry.number), '/reissue');
        end if;
        select jsonb_object_agg(split_part(p, '=', 1), substr(p, strpos(p, '=') + 1)) into given
            from unnest(string_to_array(entry.params, ',')) p;
        -- Dated today, in today's counter.
        next := seriatim.take('issue', counter.series, entry.key, counter.tenant, coalesce(given, '{}'), null, entry.document,
            entry.reference, null, id);
        select seriatim.entry_id(c.id, next.seq) into replacement from seriatim.counter c where c.no = next.counter;
        update seriatim.key k set counter = next.counter, seq = next.seq where k.line = entry.line and k.key = entry.key;
    end if;
    perform seriatim.spend(entry, seriatim.new_event('voided', seriatim.clock()), code, why, replacement);
    return case when reissue then next else (entry.counter, entry.seq, entry.number, false, '{}')::seriatim.taken end;
end $$;
