-- Gates. `no` is the order of arrival; the events of a gate stand in the chain of minus `no`. Who writes a gate holds
-- the advisory lock of its id, whether the row is there already or not.
create table seriatim.gate (
    no bigint generated always as identity primary key,
    id text collate "C" not null unique,
    tenant text collate "C" not null,
    effect text collate "C" not null,
    subject text collate "C" not null,
    state text collate "C" not null,
    token bigint not null,
    attempts bigint not null,
    policy text not null,
    due_at bigint not null,
    holder text,
    key text,
    task text,
    result text,
    last_error text,
    opened_at bigint not null,
    length bigint not null,
    head bytea not null
);

-- Workers look here all the time for what may be claimed; nearly every gate is done and not in it.
create index gate_due on seriatim.gate (due_at, id) where state in ('open', 'claimed');

-- People look here for what is not done.
create index gate_not_done on seriatim.gate (no) where state <> 'done';
