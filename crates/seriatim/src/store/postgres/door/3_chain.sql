-- The SQL door, 3 of 9: the bytes of the journal (docs/reference/journal.md; core: journal.rs, counter.rs).

-- `<byte length>:<UTF-8>`, null as `-`.
create or replace function seriatim.field(words text) returns text language sql immutable
return coalesce(octet_length(words)::text || ':' || words, '-');

-- Of single fields, so that it is unfolded where it is called.
create or replace function seriatim.event_hash(
    previous bytea, kind text, seq bigint, seq_last bigint, number text, date date, key text, params text,
    reference text, expires_at bigint, link text, reason_code text, reason text, document bytea, actor text,
    on_behalf_of text, at bigint, detail text
) returns bytea language sql stable
return sha256(previous || convert_to(
    '1:1'
    || seriatim.field(kind)
    || seriatim.field(seq::text)
    || seriatim.field(seq_last::text)
    || seriatim.field(number)
    || coalesce('10:' || to_char(date::timestamp, 'YYYY-MM-DD'), '-')
    || seriatim.field(key)
    || seriatim.field(params)
    || seriatim.field(reference)
    || seriatim.field(expires_at::text)
    || seriatim.field(link)
    || seriatim.field(reason_code)
    || seriatim.field(reason)
    || seriatim.field(encode(document, 'hex'))
    || seriatim.field(actor)
    || seriatim.field(on_behalf_of)
    || seriatim.field(at::text)
    || seriatim.field(detail), 'UTF8'));

create or replace function seriatim.event_hash(previous bytea, event seriatim.event) returns bytea language sql stable
return seriatim.event_hash(previous, (event).kind, (event).seq, (event).seq_last, (event).number, (event).date,
    (event).key, (event).params, (event).reference, (event).expires_at, (event).link, (event).reason_code,
    (event).reason, (event).document, (event).actor, (event).on_behalf_of, (event).at, (event).detail);

-- The same for a number that is taken, which costs less if nothing is asked whether it is null: `given` is what
-- seriatim.given_fields makes, or '--------' if nothing was given, and `behalf` is a field already.
create or replace function seriatim.taken_hash(
    previous bytea, kind text, digits text, number text, date date, given text, actor text, behalf text, at bigint
) returns bytea language sql stable
return sha256(previous || convert_to(format('1:1%s:%s%s:%s-%s:%s10:%s%s%s:%s%s%s:%s-', octet_length(kind), kind,
    length(digits), digits, octet_length(number), number, to_char(date::timestamp, 'YYYY-MM-DD'), given,
    octet_length(actor), actor, behalf, length(at::text), at), 'UTF8'));

create or replace function seriatim.given_fields(
    key text, params text, reference text, expires_at bigint, link text, document bytea
) returns text language sql immutable
return seriatim.field(key) || seriatim.field(params) || seriatim.field(reference) || seriatim.field(expires_at::text)
    || seriatim.field(link) || '--' || seriatim.field(encode(document, 'hex'));

-- What the first event of a counter stands on.
create or replace function seriatim.counter_genesis(series text, tenant text, partition text, period text)
    returns bytea language sql immutable
return sha256(convert_to(
    seriatim.field('seriatim counter 1') || seriatim.field(series) || seriatim.field(tenant)
    || seriatim.field(partition) || seriatim.field(period), 'UTF8'));

-- Its first 80 bits, five a letter.
create or replace function seriatim.counter_id(genesis bytea) returns text language sql immutable
return (
    select string_agg(substr('0123456789abcdefghjkmnpqrstvwxyz',
        substring(bits from 5 * i + 1 for 5)::int + 1, 1), '' order by i)
    from (select ('x' || encode(substr(genesis, 1, 10), 'hex'))::bit(80)) b (bits), generate_series(0, 15) i);

create or replace function seriatim.entry_id(counter_id text, seq bigint) returns text language sql immutable
return 'ent_' || counter_id || '_' || seq::text;

-- Whoever is connected, and the application user that he names in the setting seriatim.actor.
create or replace function seriatim.check_actors(actor text, on_behalf_of text) returns void language plpgsql as $$
begin
    if not seriatim.is_printable(actor) then
        perform seriatim.refuse('400', 'invalid_text', 'the name of the database user cannot be printed', '/actor');
    end if;
    if on_behalf_of is not null then
        perform seriatim.check_text('on_behalf_of', on_behalf_of, 255);
    end if;
end $$;

create or replace function seriatim.new_event(kind text, at timestamptz) returns seriatim.event language plpgsql as $$
declare
    event seriatim.event;
begin
    event.kind := kind;
    event.actor := 'db:' || session_user;
    event.on_behalf_of := nullif(current_setting('seriatim.actor', true), '');
    event.at := seriatim.micros(at);
    perform seriatim.check_actors(event.actor, event.on_behalf_of);
    return event;
end $$;

-- Appends an event to the chain of a counter that is locked, and moves the head in it; the caller writes the counter.
create or replace function seriatim.append(inout counter seriatim.counter, inout event seriatim.event) language plpgsql as $$
begin
    counter.length := counter.length + 1;
    event.chain := counter.no;
    event.position := counter.length;
    event.hash := seriatim.event_hash(counter.head, event);
    counter.head := event.hash;
    insert into seriatim.event select event.*;
end $$;

-- Not one that does not account for each of its seqs (promise P2).
create or replace function seriatim.write_counter(counter seriatim.counter) returns void language plpgsql as $$
begin
    update seriatim.counter c set
        last_seq = counter.last_seq, last_date = counter.last_date, issued = counter.issued,
        reserved = counter.reserved, voided = counter.voided, missing = counter.missing, length = counter.length,
        head = counter.head
    where c.no = counter.no
        and counter.issued + counter.reserved + counter.voided + counter.missing
            = counter.last_seq - counter.first_seq + 1;
    perform seriatim.require_rows(found::int, 1, 'counters');
end $$;
