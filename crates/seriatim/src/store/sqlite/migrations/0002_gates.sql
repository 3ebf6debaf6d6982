-- Gates. `no` is the order of arrival; the events of a gate stand in the chain of minus `no`.
create table gate (
    no integer primary key autoincrement,
    id blob not null unique,
    tenant text not null,
    effect text not null,
    subject text not null,
    state text not null,
    token integer not null,
    attempts integer not null,
    policy text not null,
    due_at integer not null,
    holder text,
    key text,
    task text,
    result text,
    last_error text,
    opened_at integer not null,
    length integer not null,
    head blob not null
) strict;

-- Workers look here all the time for what may be claimed; nearly every gate is done and not in it.
create index gate_due on gate (due_at, id) where state in ('open', 'claimed');

-- People look here for what is not done.
create index gate_not_done on gate (no) where state <> 'done';
