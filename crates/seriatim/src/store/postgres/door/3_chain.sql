-- The SQL door, 3 of 8: the bytes of the journal (docs/reference/journal.md; core: journal.rs, counter.rs).

-- `<byte length>:<UTF-8>`, null as `-`.
create or replace function seriatim.field(words text) returns text language sql immutable
return coalesce(octet_length(words)::text || ':' || words, '-');

create or replace function seriatim.event_hash(previous bytea, event seriatim.event) returns bytea language plpgsql immutable as $$
begin
    return sha256(previous || convert_to(
        '1:1'
        || seriatim.field(event.kind)
        || seriatim.field(event.seq::text)
        || seriatim.field(event.seq_last::text)
        || seriatim.field(event.number)
        || coalesce('10:' || to_char(event.date::timestamp, 'YYYY-MM-DD'), '-')
        || seriatim.field(event.key)
        || seriatim.field(event.params)
        || seriatim.field(event.reference)
        || seriatim.field(event.expires_at::text)
        || seriatim.field(event.link)
        || seriatim.field(event.reason_code)
        || seriatim.field(event.reason)
        || seriatim.field(encode(event.document, 'hex'))
        || seriatim.field(event.actor)
        || seriatim.field(event.on_behalf_of)
        || seriatim.field(event.at::text)
        || seriatim.field(event.detail), 'UTF8'));
end $$;

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

-- An event by whoever is connected, for the application user that he names in the setting seriatim.actor.
create or replace function seriatim.new_event(kind text, at timestamptz) returns seriatim.event language plpgsql as $$
declare
    event seriatim.event;
begin
    event.kind := kind;
    event.actor := 'db:' || session_user;
    event.on_behalf_of := nullif(current_setting('seriatim.actor', true), '');
    event.at := seriatim.micros(at);
    if not seriatim.is_printable(event.actor) then
        perform seriatim.refuse('400', 'invalid_text', 'the name of the database user cannot be printed', '/actor');
    end if;
    if event.on_behalf_of is not null then
        perform seriatim.check_text('on_behalf_of', event.on_behalf_of, 255);
    end if;
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

create or replace function seriatim.write_counter(counter seriatim.counter) returns void language sql
begin atomic
    update seriatim.counter c set
        last_seq = counter.last_seq, last_date = counter.last_date, issued = counter.issued,
        reserved = counter.reserved, voided = counter.voided, missing = counter.missing, length = counter.length,
        head = counter.head
    where c.no = counter.no;
end;
