-- The first tables. Two doors write here: the service, and the SQL functions inside a user's own transaction.
-- `no` stands for a counter everywhere else. Times are microseconds since 1970, as the journal hashes them.
-- What is in an index compares by its bytes: with a language's order, an update of the system's C library can
-- disorder an index, and then a unique constraint keeps nothing out.
create table seriatim.series (
    name text collate "C" not null primary key,
    version bigint not null,
    definition text not null
);

-- A tenant in a series: within it no number is printed twice and no key is bound twice.
create table seriatim.line (
    no bigint generated always as identity primary key,
    series text collate "C" not null,
    tenant text collate "C" not null,
    unique (series, tenant)
);

-- One row is locked and changed by every number, so its page keeps room for the next version of it. Whoever changes it
-- sees to it that it stays accounted: a constraint would be read and planned anew for each number.
create table seriatim.counter (
    no bigint generated always as identity primary key,
    id text collate "C" not null unique,
    series text collate "C" not null,
    tenant text collate "C" not null,
    partition text collate "C" not null,
    period text collate "C" not null,
    line bigint not null references seriatim.line (no),
    first_seq bigint not null,
    last_seq bigint not null,
    last_date date,
    issued bigint not null,
    reserved bigint not null,
    voided bigint not null,
    missing bigint not null,
    length bigint not null,
    head bytea not null,
    unique (series, tenant, period, partition)
) with (fillfactor = 50);

-- `no` is the order of arrival. No foreign key: whoever writes holds the lock of the counter.
create table seriatim.entry (
    no bigint generated always as identity primary key,
    counter bigint not null,
    seq bigint not null,
    line bigint not null,
    number text collate "C" not null,
    state text not null,
    origin text not null,
    date date not null,
    key text,
    params text,
    reference text,
    -- Text and not jsonb: it is kept as it was received.
    document text,
    document_sha256 bytea,
    taken_at bigint not null,
    issued_at bigint,
    expires_at bigint,
    voided_at bigint,
    reason_code text,
    reason text,
    replaces text,
    replacement text,
    position bigint not null,
    hash bytea not null,
    constraint entry_by_seq unique (counter, seq),
    -- The second net under promise P1.
    constraint entry_by_number unique (number, line)
);

-- For what is reserved and overdue. Not a partial index: its condition would be planned anew for each number.
create index entry_by_state on seriatim.entry (state, expires_at);

-- What a key stands for: a run of one counter.
create table seriatim.key (
    line bigint not null,
    key text collate "C" not null,
    counter bigint not null,
    seq bigint not null,
    count integer not null,
    constraint key_is_bound_once primary key (line, key)
);

create index key_of_counter on seriatim.key (counter);

-- The chains. `chain` is a counter's `no`, or 0 for the definitions.
create table seriatim.event (
    chain bigint not null,
    position bigint not null,
    kind text not null,
    seq bigint,
    seq_last bigint,
    number text,
    date date,
    key text,
    params text,
    reference text,
    expires_at bigint,
    link text,
    reason_code text,
    reason text,
    document bytea,
    actor text not null,
    on_behalf_of text,
    at bigint not null,
    detail text,
    hash bytea not null,
    primary key (chain, position)
);

create index event_of_entry on seriatim.event (chain, seq);

create table seriatim.missing (
    counter bigint not null,
    first bigint not null,
    last bigint not null,
    reason text not null,
    primary key (counter, first)
);

create table seriatim.closure (
    series text collate "C" not null,
    tenant text collate "C" not null,
    period text collate "C" not null,
    closed boolean not null,
    reason text not null,
    actor text not null,
    at bigint not null,
    detail text not null,
    primary key (series, tenant, period)
);

create table seriatim.api_key (
    id text collate "C" not null primary key,
    definition text not null,
    revoked_at bigint
);

-- The last batch of each lane of each node: what a lost answer is resolved by.
create table seriatim.writer (
    node bigint not null,
    lane integer not null,
    batch bigint not null,
    -- How often a batch was asked about and not found: one that is still under way must then fail.
    asked bigint not null default 0,
    primary key (node, lane)
) with (fillfactor = 50);

-- Which cluster, on which timeline, and whether numbers may be taken. One row.
create table seriatim.fence (
    one boolean not null default true primary key check (one),
    system_id text not null,
    timeline text not null,
    open boolean not null,
    reason text,
    changed_at bigint not null
);

-- The nodes of the service, so that it is known who must confirm after a failover.
create table seriatim.node (
    id bigint not null primary key,
    name text not null,
    started_at bigint not null,
    seen_at bigint not null,
    -- Which cluster and timeline it has confirmed its last acknowledged batches on.
    confirmed text
);
