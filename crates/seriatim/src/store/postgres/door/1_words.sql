-- The SQL door, 1 of 9: the words of a caller, and how he is refused.
--
-- The door is the one place besides the core where the rules stand. Each function names its twin there; the
-- scenarios run through both, and both write the same bytes into the journal.

-- What a verb answers: the entry as the view seriatim.entries shows it, and what is to be said of this call.
do $$ begin
    create type seriatim.answer as (
        id text, series text, tenant text, number text, seq bigint, period text, date date, state text, key text,
        reference text, params jsonb, document text, document_sha256 text, taken_at timestamptz, issued_at timestamptz,
        expires_at timestamptz, voided_at timestamptz, reason_code text, reason text, replaces text, replacement text,
        hash text, replayed boolean, differs text[], warnings text[], test boolean
    );
    -- The same inside the door, before the entry is read back.
    create type seriatim.taken as (counter bigint, seq bigint, number text, replayed boolean, differs text[]);
exception when duplicate_object then null;
end $$;

-- What time it is. Never now(), which is when the transaction began: it may have been yesterday.
create or replace function seriatim.clock() returns timestamptz language sql volatile
return clock_timestamp();

create or replace function seriatim.micros(at timestamptz) returns bigint language sql stable
return (extract(epoch from at) * 1000000)::bigint;

create or replace function seriatim.instant(micros bigint) returns timestamptz language sql immutable
return timestamptz 'epoch' + micros * interval '1 microsecond';

-- Says no. The SQLSTATE is SR and the HTTP status of the code; the message begins with the code; the detail is JSON for
-- programs: code, field, and the entries that it is about (core: Refusal).
create or replace function seriatim.refuse(
    status text, code text, message text, field text default null, hint text default null, entries text[] default '{}'
) returns void language plpgsql as $$
begin
    raise exception using
        errcode = 'SR' || status,
        message = code || ': ' || message,
        detail = jsonb_strip_nulls(jsonb_build_object(
            'code', code, 'field', field, 'entries', to_jsonb(nullif(entries, '{}')))),
        hint = coalesce(hint, 'nothing was written');
end $$;

-- Neither control characters nor direction marks nor invisible ones (core: name.rs, is_unprintable).
create or replace function seriatim.is_printable(words text) returns boolean language sql immutable
return words !~ '[\u0001-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]';

create or replace function seriatim.is_blank(words text) returns boolean language sql immutable
return words !~ '[^\u0009-\u000d\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]';

-- Free text: a reference, a reason, an actor (core: name.rs, check_text).
create or replace function seriatim.check_text(field text, words text, length_max int) returns void language plpgsql as $$
begin
    if seriatim.is_blank(words) then
        perform seriatim.refuse('400', 'invalid_text', field || ': must not be empty', '/' || field);
    elsif length(words) > length_max then
        perform seriatim.refuse('400', 'invalid_text', format('%s: is too long; at most %s characters', field, length_max), '/' || field);
    elsif not seriatim.is_printable(words) then
        perform seriatim.refuse('400', 'invalid_text',
            field || ': must not contain control characters, line breaks or direction marks', '/' || field);
    end if;
end $$;

-- Names that led to no row; those that did are well-formed (core: name.rs).
create or replace function seriatim.check_names(series text, tenant text) returns void language plpgsql as $$
begin
    if coalesce(series !~ '^[a-z][a-z0-9_-]*$' or length(series) > 63, true) then
        perform seriatim.refuse('400', 'invalid_series',
            'series: a series name is a lower-case letter, then up to 62 of a-z, 0-9, `_` and `-`', '/series');
    end if;
    perform seriatim.check_tenant(tenant);
end $$;

-- Not in SQL: it would be unfolded, and set up, where nearly everybody is `default`.
create or replace function seriatim.is_tenant(tenant text) returns boolean language plpgsql immutable as $$
begin
    return tenant ~ '^[A-Za-z0-9][A-Za-z0-9._-]*$' and length(tenant) <= 64;
end $$;

create or replace function seriatim.check_tenant(tenant text) returns void language plpgsql as $$
begin
    if seriatim.is_tenant(tenant) is not true then
        perform seriatim.refuse('400', 'invalid_tenant',
            'tenant: a tenant is a letter or digit, then up to 63 of A-Z, a-z, 0-9, `.`, `_` and `-`', '/tenant');
    end if;
end $$;

create or replace function seriatim.is_key(key text) returns boolean language sql immutable
return octet_length(key) between 1 and 255 and key !~ '[^ -~]' and btrim(key) = key;

create or replace function seriatim.check_key(key text) returns void language plpgsql as $$
begin
    if not seriatim.is_key(key) then
        perform seriatim.refuse('400', 'invalid_key',
            'key: a key is 1 to 255 printable ASCII characters without a space at its ends; best the business reference', '/key');
    end if;
end $$;

-- A JSON text of up to 64 KiB and 64 levels whose objects name no field twice (core: document.rs). It is kept as it
-- came. The core also refuses a number that no float can hold (1e999); here it passes.
create or replace function seriatim.check_json(field text, document text) returns void language plpgsql
    set standard_conforming_strings = on as $$
declare
    brackets text;
    names text := document;
    twice text;
begin
    if octet_length(document) > 65536 then
        perform seriatim.refuse('413', 'document_too_large', format(
            'the %s has %s bytes; at most 65536 are kept: store it elsewhere and keep a reference', field,
            octet_length(document)), '/' || field);
    end if;
    -- What is left without strings and values is the tree of brackets; each round takes its leaves.
    brackets := regexp_replace(regexp_replace(document, '"(?:[^"\\]|\\.)*"', '', 'g'), '[^][{}]', '', 'g');
    for level in 1..64 loop
        exit when brackets = '';
        brackets := regexp_replace(brackets, '\[\]|\{\}', '', 'g');
    end loop;
    if brackets <> '' then
        perform seriatim.refuse('400', 'invalid_document',
            format('the %s nests deeper than 64 levels, or its brackets do not match', field), '/' || field);
    end if;
    -- json, not jsonb, keeps the text; and a string may hold \u0000, which only unpacking it refuses. It becomes another
    -- character and a digit, as that character does with another digit, so that two names do not become one.
    if strpos(document, '\u0000') > 0 then
        names := replace(document, '\\', '\u005c');
        names := regexp_replace(names, '\\u[eE]000|' || chr(57344), '\\ue0001', 'g');
        names := replace(names, '\u0000', '\ue0000');
    end if;
    with recursive node (value) as (
        select names::json
        union all
        select child.value from node, lateral (
            select f.value from json_each(case json_typeof(node.value) when 'object' then node.value else '{}' end) f
            union all
            select i.value from json_array_elements(case json_typeof(node.value) when 'array' then node.value else '[]' end) i
        ) child
    )
    select doubled.name into twice
    from node, lateral (
        select name from json_object_keys(case json_typeof(node.value) when 'object' then node.value else '{}' end) name
        group by name having count(*) > 1
    ) doubled
    limit 1;
    if twice is not null then
        perform seriatim.refuse('400', 'invalid_document', format('the %s is not valid: duplicate field `%s`', field, twice), '/' || field);
    end if;
    -- Half of a pair of surrogates is no character; escaped backslashes and whole pairs go first.
    if regexp_replace(replace(document, '\\', ''), '\\u[dD][89abAB]..\\u[dD][c-fC-F]', '', 'g') ~ '\\u[dD][89a-fA-F]' then
        perform seriatim.refuse('400', 'invalid_document', format('the %s is not valid: half a surrogate pair', field), '/' || field);
    end if;
exception
    when invalid_text_representation or untranslatable_character then
        perform seriatim.refuse('400', 'invalid_document', format('the %s is not valid: %s', field, sqlerrm), '/' || field);
end $$;

create or replace function seriatim.check_document(document text) returns void language plpgsql as $$
begin
    perform seriatim.check_json('document', document);
end $$;

-- How long something is held: whole seconds, from 1 second to 366 days (core: Ttl).
create or replace function seriatim.seconds_of(field text, span interval) returns bigint language plpgsql as $$
declare
    seconds numeric := extract(epoch from span);
begin
    if seconds is null or seconds <> trunc(seconds) or seconds not between 1 and 366 * 86400 then
        perform seriatim.refuse('400', 'invalid_ttl', field || ': give whole seconds, from 1 second to 366 days', '/' || field);
    end if;
    return seconds::bigint;
end $$;
