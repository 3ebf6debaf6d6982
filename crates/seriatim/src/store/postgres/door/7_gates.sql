-- The SQL door, 7 of 9: gates (core: gate.rs, decide/gates.rs).

create or replace view seriatim.gates as
select g.id, g.tenant, g.effect, g.subject, g.state, g.token, g.attempts,
    substring(g.policy from '^attempts=([0-9]+)')::bigint as attempts_max, g.holder,
    case g.state when 'claimed' then seriatim.instant(g.due_at) end as expires_at,
    case g.state when 'open' then seriatim.instant(g.due_at) end as not_before,
    case when g.state in ('done', 'dead') then seriatim.instant(g.due_at) end as ended_at,
    g.task, g.result, g.last_error, seriatim.instant(g.opened_at) as opened_at, encode(g.head, 'hex') as hash
from seriatim.gate g;

-- What a claim came to, and a gate that was moved: what the service says of them.
do $$ begin
    create type seriatim.claim_answer as (
        outcome text, gate text, token bigint, attempts bigint, expires_at timestamptz, retry_after_ms bigint, task text,
        result text, last_error text, replayed boolean
    );
    create type seriatim.gate_answer as (
        id text, tenant text, effect text, subject text, state text, token bigint, attempts bigint, attempts_max bigint,
        holder text, expires_at timestamptz, not_before timestamptz, ended_at timestamptz, task text, result text,
        last_error text, opened_at timestamptz, hash text, replayed boolean
    );
exception when duplicate_object then null;
end $$;

-- What the first event of a gate stands on.
create or replace function seriatim.gate_genesis(tenant text, effect text, subject text) returns bytea language sql immutable
return sha256(convert_to(
    seriatim.field('seriatim gate 1') || seriatim.field(tenant) || seriatim.field(effect) || seriatim.field(subject), 'UTF8'));

-- How often, and with which pauses, as the journal keeps it (core: GatePolicy).
create or replace function seriatim.gate_policy(attempts int, pause interval, pause_max interval) returns text language plpgsql as $$
declare
    first bigint := case when pause is null then 1 else seriatim.seconds_of('pause', pause) end;
    longest bigint := case when pause_max is null then greatest(300, first) else seriatim.seconds_of('pause_max', pause_max) end;
begin
    attempts := coalesce(attempts, 10);
    if attempts not between 1 and 1000 then
        perform seriatim.refuse('400', 'invalid_count', format('attempts is %s; give 1 to 1000', attempts), '/attempts');
    elsif first > longest then
        perform seriatim.refuse('400', 'invalid_ttl', 'the pause is longer than pause_max; give a shorter one', '/pause');
    end if;
    return format('attempts=%s pause=%ss pause_max=%ss', attempts, first, longest);
end $$;

create or replace function seriatim.attempts_max(gate seriatim.gate) returns bigint language sql immutable
return substring((gate).policy from '^attempts=([0-9]+)')::bigint;

-- How long a gate rests after a failure: the pause doubles up to the longest, and up to a quarter is taken off by the
-- hash of gate and token. The id is the beginning of the hash that the chain stands on (core: GatePolicy::pause_micros).
create or replace function seriatim.pause_micros(gate seriatim.gate) returns bigint language plpgsql immutable as $$
declare
    first bigint := substring(gate.policy from ' pause=([0-9]+)s');
    longest bigint := substring(gate.policy from ' pause_max=([0-9]+)s');
    pause bigint := 1000000 * least(longest, first * (1::bigint << greatest(least(gate.attempts - 1, 30), 0)::int));
    id bytea := substr(seriatim.gate_genesis(gate.tenant, gate.effect, gate.subject), 1, 10);
begin
    return pause - pause / 4 * get_byte(sha256(id || int8send(gate.token)), 0) / 255;
end $$;

create or replace function seriatim.wait_for_gate(id text) returns void language plpgsql set lock_timeout = '3s' as $$
begin
    perform pg_advisory_xact_lock(1397053782, hashtext(id));
exception
    when lock_not_available or deadlock_detected then
        perform seriatim.refuse('503', 'counter_busy', format('another transaction holds gate %s; try again', id));
end $$;

-- The gate of an id, locked until this transaction ends, also if it is not there yet.
create or replace function seriatim.hold_gate(of_id text) returns seriatim.gate language plpgsql as $$
declare
    held seriatim.gate;
begin
    perform seriatim.enter();
    if not pg_try_advisory_xact_lock(1397053782, hashtext(of_id)) then
        perform seriatim.wait_for_gate(of_id);
    end if;
    select * into held from seriatim.gate g where g.id = of_id;
    return held;
end $$;

-- The gate that a caller named.
create or replace function seriatim.find_gate(id text) returns seriatim.gate language plpgsql as $$
declare
    held seriatim.gate;
begin
    if coalesce(id !~ '^gat_[0-9a-hjkmnp-tv-z]{16}$', true) then
        perform seriatim.refuse('400', 'invalid_id', format('`%s` is not a gate id; it looks like gat_0123456789abcdef',
            left(id, 64)), '/id');
    end if;
    held := seriatim.hold_gate(id);
    if held.no is null then
        perform seriatim.refuse('404', 'unknown_gate', format('there is no gate %s', id), '/id');
    end if;
    return held;
end $$;

-- Appends an event to the chain of a gate that is held, and makes its move (core: Gate::apply, GATE_MOVES).
create or replace function seriatim.move_gate(inout held seriatim.gate, event seriatim.event) language plpgsql as $$
begin
    held.state := case coalesce(held.state, '') || ' ' || event.kind
        when ' opened' then 'open'
        when 'open claimed' then 'claimed'
        when 'claimed completed' then 'done'
        when 'claimed failed' then 'open'
        when 'claimed expired' then 'open'
        when 'open died' then 'dead'
        when 'dead retried' then 'open'
    end;
    case event.kind
        when 'opened' then
            held.policy := event.detail;
            held.opened_at := event.at;
        when 'claimed' then
            held.token := held.token + 1;
            held.attempts := held.attempts + 1;
            held.holder := event.detail;
            held.key := event.key;
            event.seq_last := held.attempts;
        when 'retried' then held.attempts := 0;
        when 'failed', 'expired' then held.last_error := event.reason;
        else null;
    end case;
    held.due_at := coalesce(event.expires_at, event.at);
    held.length := held.length + 1;
    event.position := held.length;
    event.seq := case when event.kind <> 'opened' then held.token end;
    event.hash := seriatim.event_hash(held.head, event);
    held.head := event.hash;
    -- A move that is none leaves no state, which the table refuses.
    if event.kind = 'opened' then
        insert into seriatim.gate as g (id, tenant, effect, subject, state, token, attempts, policy, due_at, opened_at, length, head)
            select held.id, held.tenant, held.effect, held.subject, held.state, held.token, held.attempts, held.policy,
                held.due_at, held.opened_at, held.length, held.head
            returning g.no into held.no;
    else
        update seriatim.gate g set
            state = held.state, token = held.token, attempts = held.attempts, due_at = held.due_at, holder = held.holder,
            key = held.key, result = held.result, last_error = held.last_error, length = held.length, head = held.head
        where g.no = held.no;
    end if;
    -- The events of a gate stand in the chain of minus its `no`.
    event.chain := -held.no;
    insert into seriatim.event select event.*;
end $$;

-- Ends a gate that was tried as often as it may, or that its holder gives up (core: Draft::dies).
create or replace function seriatim.let_die(inout held seriatim.gate, at timestamptz, give_up boolean) language plpgsql as $$
begin
    if give_up or held.attempts >= seriatim.attempts_max(held) then
        held := seriatim.move_gate(held, seriatim.new_event('died', at));
    end if;
end $$;

create or replace function seriatim.claim_answer_of(held seriatim.gate, outcome text, retry_after_ms bigint, replayed boolean)
    returns seriatim.claim_answer language sql stable
return (outcome, (held).id, case outcome when 'won' then (held).token end, (held).attempts,
    case (held).state when 'claimed' then seriatim.instant((held).due_at) end, retry_after_ms, (held).task, (held).result,
    (held).last_error, replayed)::seriatim.claim_answer;

create or replace function seriatim.gate_answer_of(held seriatim.gate, replayed boolean) returns seriatim.gate_answer language sql
begin atomic
    select (g.id, g.tenant, g.effect, g.subject, g.state, g.token, g.attempts, g.attempts_max, g.holder, g.expires_at,
        g.not_before, g.ended_at, g.task, g.result, g.last_error, g.opened_at, g.hash, replayed)::seriatim.gate_answer
    from seriatim.gates g where g.id = (held).id;
end;

-- Only the token of the claim that neither ended nor was taken over changes anything (core: Gate::is_current).
create or replace function seriatim.check_token(held seriatim.gate, token bigint) returns void language plpgsql as $$
begin
    if held.state <> 'claimed' or held.token is distinct from token then
        perform seriatim.refuse('409', 'stale_token', format(
            'token %s of gate %s changes nothing: %s; stop, and undo what can be undone', coalesce(token::text, 'null'), held.id,
            case held.state
                when 'done' then 'the gate is done, and its result stays'
                when 'dead' then 'the gate is dead'
                when 'open' then 'nobody holds the gate now; claim it again'
                else format('the current one is %s', held.token)
            end), '/token');
    end if;
end $$;

-- core: Draft::claim, Draft::open_gate, Draft::win.
create or replace function seriatim.do_claim(
    of_tenant text, of_effect text, of_subject text, ttl_seconds bigint, by_holder text, with_key text, policy text
) returns seriatim.claim_answer language plpgsql as $$
declare
    genesis bytea := seriatim.gate_genesis(of_tenant, of_effect, of_subject);
    id text := 'gat_' || seriatim.counter_id(genesis);
    held seriatim.gate := seriatim.hold_gate(id);
    now timestamptz := seriatim.clock();
    at bigint := seriatim.micros(now);
    event seriatim.event;
begin
    -- An id is 80 bits: who looks long enough finds two subjects of one id, and must gain nothing by it.
    if (held.tenant, held.effect, held.subject) <> (of_tenant, of_effect, of_subject) then
        perform seriatim.refuse('400', 'invalid_subject', format(
            'the gate of this subject would be %s, which is another''s; use another subject', id), '/subject');
    elsif held.no is null then
        held.id := id;
        held.tenant := of_tenant;
        held.effect := of_effect;
        held.subject := of_subject;
        held.token := 0;
        held.attempts := 0;
        held.length := 0;
        held.head := genesis;
        event := seriatim.new_event('opened', now);
        event.detail := policy;
        held := seriatim.move_gate(held, event);
    end if;
    if held.state in ('done', 'dead') or held.due_at > at then
        -- As for a number: with synchronous replication a mere read confirms what a failover may forget.
        perform pg_logical_emit_message(true, 'seriatim', 'replayed');
        return case
            when held.state in ('done', 'dead') then seriatim.claim_answer_of(held, held.state, null, false)
            -- The answer to this very claim was lost.
            when held.state = 'claimed' and held.key = with_key and held.holder = by_holder then
                seriatim.claim_answer_of(held, 'won', null, true)
            else seriatim.claim_answer_of(held, 'busy', (held.due_at - at + 999) / 1000, false)
        end;
    end if;
    -- A lease that ran out counts as an attempt that failed.
    if held.state = 'claimed' then
        event := seriatim.new_event('expired', now);
        event.reason := format('the lease of %s ran out', held.holder);
        held := seriatim.let_die(seriatim.move_gate(held, event), now, false);
        if held.state = 'dead' then
            return seriatim.claim_answer_of(held, 'dead', null, false);
        end if;
    end if;
    event := seriatim.new_event('claimed', now);
    event.key := with_key;
    event.expires_at := at + ttl_seconds * 1000000;
    event.detail := by_holder;
    held := seriatim.move_gate(held, event);
    return seriatim.claim_answer_of(held, 'won', null, false);
end $$;

-- Of all who claim one wins. In a transaction of its own: until the commit nobody else sees the claim.
create or replace function seriatim.gate_claim(
    effect text, subject text, ttl interval, holder text, tenant text default 'default', key text default null,
    attempts int default null, pause interval default null, pause_max interval default null
) returns seriatim.claim_answer language plpgsql security definer set search_path = pg_catalog, pg_temp
    set lock_timeout = '3s' set plan_cache_mode = force_generic_plan as $$
begin
    perform seriatim.check_tenant(tenant);
    if coalesce(effect !~ '^[a-z][a-z0-9_-]*$' or length(effect) > 63, true) then
        perform seriatim.refuse('400', 'invalid_effect',
            'effect: an effect is a lower-case letter, then up to 62 of a-z, 0-9, `_` and `-`', '/effect');
    elsif seriatim.is_key(subject) is not true then
        perform seriatim.refuse('400', 'invalid_subject',
            'subject: a subject is 1 to 255 printable ASCII characters without a space at its ends; best the business reference', '/subject');
    end if;
    perform seriatim.check_text('holder', coalesce(holder, ''), 255);
    if key is not null then
        perform seriatim.check_key(key);
    end if;
    return seriatim.do_claim($5, $1, $2, seriatim.seconds_of('ttl', $3), $4, $6, seriatim.gate_policy($7, $8, $9));
end $$;

-- A renewal moves only when somebody may take over, and is no event.
create or replace function seriatim.gate_renew(id text, token bigint, ttl interval)
returns seriatim.gate_answer language plpgsql security definer set search_path = pg_catalog, pg_temp
    set lock_timeout = '3s' set plan_cache_mode = force_generic_plan as $$
declare
    seconds bigint := seriatim.seconds_of('ttl', $3);
    held seriatim.gate := seriatim.find_gate($1);
begin
    perform seriatim.check_token(held, $2);
    -- One that arrives late, or asks for less, takes nothing away.
    update seriatim.gate g set due_at = greatest(g.due_at, seriatim.micros(seriatim.clock()) + seconds * 1000000)
        where g.no = held.no;
    return seriatim.gate_answer_of(held, false);
end $$;

-- Records the result. In the transaction of the effect's own rows: they and the result are one commit.
create or replace function seriatim.gate_complete(id text, token bigint, result text)
returns seriatim.gate_answer language plpgsql security definer set search_path = pg_catalog, pg_temp
    set lock_timeout = '3s' set plan_cache_mode = force_generic_plan as $$
declare
    held seriatim.gate;
    event seriatim.event;
begin
    perform seriatim.check_json('result', coalesce($3, ''));
    held := seriatim.find_gate($1);
    if held.state = 'done' and held.token = $2 and held.result = $3 then
        perform pg_logical_emit_message(true, 'seriatim', 'replayed');
        return seriatim.gate_answer_of(held, true);
    end if;
    perform seriatim.check_token(held, $2);
    event := seriatim.new_event('completed', seriatim.clock());
    event.document := sha256(convert_to($3, 'UTF8'));
    held.result := $3;
    return seriatim.gate_answer_of(seriatim.move_gate(held, event), false);
end $$;

create or replace function seriatim.gate_fail(
    id text, token bigint, error text, retry_in interval default null, give_up boolean default false
) returns seriatim.gate_answer language plpgsql security definer set search_path = pg_catalog, pg_temp
    set lock_timeout = '3s' set plan_cache_mode = force_generic_plan as $$
declare
    pause bigint := case when $4 is not null then seriatim.seconds_of('retry_in', $4) * 1000000 end;
    held seriatim.gate;
    event seriatim.event;
    now timestamptz;
begin
    perform seriatim.check_text('error', coalesce($3, ''), 1000);
    held := seriatim.find_gate($1);
    -- The answer was lost: he failed already, and nobody has come since.
    if held.state in ('open', 'dead') and held.token = $2 and held.last_error = $3 then
        perform pg_logical_emit_message(true, 'seriatim', 'replayed');
        return seriatim.gate_answer_of(held, true);
    end if;
    perform seriatim.check_token(held, $2);
    now := seriatim.clock();
    event := seriatim.new_event('failed', now);
    event.reason := $3;
    event.expires_at := event.at + coalesce(pause, seriatim.pause_micros(held));
    held := seriatim.let_die(seriatim.move_gate(held, event), now, coalesce($5, false));
    return seriatim.gate_answer_of(held, false);
end $$;

-- Opens a dead gate again; its attempts begin anew.
create or replace function seriatim.gate_retry(id text, reason text)
returns seriatim.gate_answer language plpgsql security definer set search_path = pg_catalog, pg_temp
    set lock_timeout = '3s' set plan_cache_mode = force_generic_plan as $$
declare
    held seriatim.gate;
    event seriatim.event;
begin
    perform seriatim.check_text('reason', coalesce($2, ''), 1000);
    held := seriatim.find_gate($1);
    if held.state <> 'dead' then
        perform seriatim.refuse('409', 'gate_not_dead',
            format('gate %s is %s, not dead; there is nothing to retry', $1, held.state), '/id');
    end if;
    event := seriatim.new_event('retried', seriatim.clock());
    event.reason := $2;
    return seriatim.gate_answer_of(seriatim.move_gate(held, event), false);
end $$;
