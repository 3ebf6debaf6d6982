-- The first tables. `counter.no` stands for a counter everywhere else: two bytes instead of its ten-byte id.
create table series (
    name text not null primary key,
    version integer not null,
    definition text not null
) strict, without rowid;

-- A tenant in a series: within it no number is printed twice.
create table line (
    no integer primary key autoincrement,
    series text not null,
    tenant text not null,
    unique (series, tenant)
) strict;

-- A `no` is never used again (autoincrement): a reader may still remember which counter it was before a wipe.
create table counter (
    no integer primary key autoincrement,
    id blob not null unique,
    series text not null,
    tenant text not null,
    partition text not null,
    period text not null,
    line integer not null,
    first_seq integer not null,
    last_seq integer not null,
    last_date text,
    issued integer not null,
    reserved integer not null,
    voided integer not null,
    missing integer not null,
    length integer not null,
    head blob not null
) strict;

-- In the order in which counters are listed.
create unique index counter_by_name on counter (series, tenant, period desc, partition);

-- `no` is the order of arrival. No foreign key: the writer has just looked the counter up, and the check would cost a
-- search for each number.
create table entry (
    no integer primary key,
    counter integer not null,
    seq integer not null,
    line integer not null,
    number text not null,
    state text not null,
    origin text not null,
    date text not null,
    key text,
    params text,
    reference text,
    document_sha256 blob,
    taken_at integer not null,
    issued_at integer,
    expires_at integer,
    voided_at integer,
    reason_code text,
    reason text,
    replaces text,
    replacement text,
    position integer not null,
    hash blob not null,
    -- Where the event that made this entry stands in its chain, so that it is found without an index.
    taken_position integer not null,
    unique (counter, seq)
) strict;

-- The second net under promise P1, and the way to an entry from the number on a document.
create unique index entry_by_number on entry (number, line);

-- Open reservations are few, and the sweep for overdue ones runs all the time.
create index entry_reserved on entry (expires_at) where state = 'reserved';

-- Apart from the entries, so that a page of entries holds many of them.
create table document (
    entry integer primary key,
    body text not null
) strict;

-- What a key stands for. `hash` is cut from SHA-256(series, tenant, key): random keys touch one leaf each, so the leaves
-- must be few and the rows short. The text of the key is in its first entry and is compared on every hit.
create table key (
    hash integer primary key,
    counter integer not null,
    seq integer not null,
    count integer not null
) strict;

-- The keys of all entries up to and with this `no` are in the tables of keys; those of later ones may still wait in the
-- writer's memory, and are read from the entries at the next opening.
create table key_tail (
    one integer primary key check (one = 1),
    after integer not null
) strict;

insert into key_tail (one, after) values (1, 0);

-- Keys whose hash was taken by another key.
create table key_collision (
    series text not null,
    tenant text not null,
    key text not null,
    counter integer not null,
    seq integer not null,
    count integer not null,
    primary key (series, tenant, key)
) strict, without rowid;

-- The chains. `chain` is a counter's `no`, or 0 for the definitions.
create table event (
    chain integer not null,
    position integer not null,
    kind text not null,
    seq integer,
    seq_last integer,
    number text,
    date text,
    key text,
    params text,
    reference text,
    expires_at integer,
    link text,
    reason_code text,
    reason text,
    document blob,
    actor text not null,
    on_behalf_of text,
    at integer not null,
    detail text,
    hash blob not null,
    primary key (chain, position)
) strict, without rowid;

-- The events of an entry but `issued`, which is found by `entry.taken_position`. A condition any longer would cost each
-- insert more than the row itself.
create index event_of_entry on event (chain, seq) where kind <> 'issued' and number is not null;

create table missing (
    counter integer not null,
    first integer not null,
    last integer not null,
    reason text not null,
    primary key (counter, first)
) strict, without rowid;

create table closure (
    series text not null,
    tenant text not null,
    period text not null,
    closed integer not null,
    reason text not null,
    actor text not null,
    at integer not null,
    detail text not null,
    primary key (series, tenant, period)
) strict, without rowid;

create table api_key (
    id text not null primary key,
    definition text not null,
    revoked_at integer
) strict, without rowid;

-- The last batch of each lane of each node: what a lost answer is resolved by.
create table writer (
    node integer not null,
    lane integer not null,
    batch integer not null,
    primary key (node, lane)
) strict, without rowid;
