-- The SQL door, 6 of 9: what is stable: views for reading, and the verbs.
--
-- The verbs run with the rights of the owner of the schema and do nothing but call the rooms behind them.

-- An entry as people see it, beside the counter by which it is found: ids are computed, and no index knows them.
create or replace view seriatim.entry_shown as
select e.counter, seriatim.entry_id(c.id, e.seq) as id, c.series, c.tenant, e.number, e.seq, c.period, e.date, e.state, e.key,
    e.reference,
    coalesce((select jsonb_object_agg(split_part(p, '=', 1), substr(p, strpos(p, '=') + 1))
        from unnest(string_to_array(e.params, ',')) p), '{}') as params,
    e.document, encode(e.document_sha256, 'hex') as document_sha256, seriatim.instant(e.taken_at) as taken_at,
    seriatim.instant(e.issued_at) as issued_at, seriatim.instant(e.expires_at) as expires_at,
    seriatim.instant(e.voided_at) as voided_at, e.reason_code, e.reason, e.replaces, e.replacement,
    encode(e.hash, 'hex') as hash
from seriatim.entry e join seriatim.counter c on c.no = e.counter;

create or replace view seriatim.entries as
select e.id, e.series, e.tenant, e.number, e.seq, e.period, e.date, e.state, e.key, e.reference, e.params, e.document,
    e.document_sha256, e.taken_at, e.issued_at, e.expires_at, e.voided_at, e.reason_code, e.reason, e.replaces,
    e.replacement, e.hash
from seriatim.entry_shown e;

create or replace view seriatim.counters as
select c.id, c.series, c.tenant, c.partition, c.period, c.first_seq, c.last_seq, c.last_date, c.issued, c.reserved,
    c.voided, c.missing, c.length, encode(c.head, 'hex') as head
from seriatim.counter c;

-- `counter` is null on the chains of definitions and of gates.
create or replace view seriatim.events as
select c.id as counter, c.series, c.tenant, e.position, e.kind, e.seq, e.seq_last, e.number, e.date, e.key, e.params,
    e.reference, seriatim.instant(e.expires_at) as expires_at, e.link, e.reason_code, e.reason,
    encode(e.document, 'hex') as document_sha256, e.actor, e.on_behalf_of, seriatim.instant(e.at) as at, e.detail,
    encode(e.hash, 'hex') as hash, g.id as gate
from seriatim.event e left join seriatim.counter c on c.no = e.chain left join seriatim.gate g on g.no = -e.chain;

-- The next end in sight: the width after which numbers get longer, then a hard one (core: decide/issue.rs, warnings).
create or replace function seriatim.warnings_of(plan seriatim.series_plan, seq bigint) returns text[] language sql immutable
return (
    select array_remove(array[
        case when seq > plan.width_max then 'widened' end,
        case when e.last < 9223372036854775807 and seq <= e.last and e.last - seq < greatest(e.last / 10, 1)
            then 'near_limit' end], null)
    from (select least(plan.seq_max, case when seq <= plan.width_max then plan.width_max end)) e (last));

-- The entry of a number that was taken, as a caller hears it.
create or replace function seriatim.answer_of(taken seriatim.taken, warns boolean default true) returns seriatim.answer
    language sql
begin atomic
    select (e.id, e.series, e.tenant, e.number, e.seq, e.period, e.date, e.state, e.key, e.reference, e.params, e.document,
        e.document_sha256, e.taken_at, e.issued_at, e.expires_at, e.voided_at, e.reason_code, e.reason, e.replaces,
        e.replacement, e.hash, taken.replayed, taken.differs,
        case when warns and not taken.replayed then seriatim.warnings_of(p, e.seq) else '{}' end, p.test)::seriatim.answer
    from seriatim.entry_shown e
    join seriatim.series_plan p on p.name = e.series
    where e.counter = taken.counter and e.seq = taken.seq;
end;

-- The number, for `insert into orders (number, …) values (seriatim.next('order', key => …), …)`.
create or replace function seriatim.next(
    series text, key text default null, tenant text default 'default', params jsonb default '{}', date date default null,
    document text default null, reference text default null
) returns text language plpgsql security definer set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan set lock_timeout = '3s' as $$
begin
    return (seriatim.take('issue', $1, $2, $3, $4, $5, $6, $7)).number;
end $$;

create or replace function seriatim.issue(
    series text, key text default null, tenant text default 'default', params jsonb default '{}', date date default null,
    document text default null, reference text default null
) returns seriatim.answer language plpgsql security definer set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan set lock_timeout = '3s' as $$
begin
    return seriatim.answer_of(seriatim.take('issue', $1, $2, $3, $4, $5, $6, $7));
end $$;

create or replace function seriatim.reserve(
    series text, key text default null, ttl interval default '1 hour', tenant text default 'default',
    params jsonb default '{}', date date default null, document text default null, reference text default null
) returns seriatim.answer language plpgsql security definer set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan set lock_timeout = '3s' as $$
begin
    return seriatim.answer_of(seriatim.take('reserve', $1, $2, $4, $5, $6, $7, $8, seriatim.seconds_of('ttl', $3)));
end $$;

create or replace function seriatim.adopt(
    series text, number text, date date, key text default null, tenant text default 'default',
    document text default null, reference text default null
) returns seriatim.answer language plpgsql security definer set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan set lock_timeout = '3s' as $$
begin
    return seriatim.answer_of(seriatim.take_from_elsewhere($1, $2, $3, $4, $5, $6, $7), false);
end $$;

create or replace function seriatim.confirm(id text, document text default null)
returns seriatim.answer language plpgsql security definer set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan as $$
begin
    return seriatim.answer_of(seriatim.do_confirm($1, $2), false);
end $$;

create or replace function seriatim.release(id text, reason text)
returns seriatim.answer language plpgsql security definer set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan as $$
begin
    return seriatim.answer_of(seriatim.do_release($1, $2), false);
end $$;

-- The voided entry; with `reissue` its replacement, which names it in `replaces`.
create or replace function seriatim.void(
    id text, reason text, reason_code text default 'other', reissue boolean default false
) returns seriatim.answer language plpgsql security definer set search_path = pg_catalog, pg_temp
    set plan_cache_mode = force_generic_plan as $$
begin
    return seriatim.answer_of(seriatim.do_void($1, $2, $3, $4), $4);
end $$;

-- What the next number would be; writes nothing and locks nothing, so somebody else may take it.
create or replace function seriatim.preview(
    series text, tenant text default 'default', params jsonb default '{}', date date default null
) returns seriatim.answer language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    taken seriatim.taken := seriatim.take('issue', $1, null, $2, $3, $4, null, null, rehearsal => true);
    answer seriatim.answer;
begin
    answer.series := $1;
    answer.tenant := $2;
    answer.number := taken.number;
    answer.seq := taken.seq;
    answer.replayed := false;
    answer.differs := '{}';
    select seriatim.warnings_of(p, taken.seq), p.test into answer.warnings, answer.test
        from seriatim.series_plan p where p.name = $1;
    return answer;
end $$;

-- The id of a number, for confirm, release and void; null if there is none.
create or replace function seriatim.id_of(series text, number text, tenant text default 'default') returns text
    language sql stable security definer set search_path = pg_catalog, pg_temp
begin atomic
    select seriatim.entry_id(c.id, e.seq)
    from seriatim.line l join seriatim.entry e on e.line = l.no join seriatim.counter c on c.no = e.counter
    where l.series = $1 and l.tenant = $3 and e.number = $2;
end;
