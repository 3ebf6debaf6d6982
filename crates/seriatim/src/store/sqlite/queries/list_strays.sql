-- Rows of a counter or gate that is not there, a row for each: which, how many, and a number among them. The indexes are
-- stepped over counter by counter, so that it takes no walk through all rows.
with recursive
entry_of (of_counter) as (
    select min(e.counter) from entry e
    union all
    select (select min(e.counter) from entry e where e.counter > o.of_counter) from entry_of o where o.of_counter is not null
),
event_of (of_chain) as (
    select min(v.chain) from event v
    union all
    select (select min(v.chain) from event v where v.chain > o.of_chain) from event_of o where o.of_chain is not null
),
missing_of (of_counter) as (
    select min(m.counter) from missing m
    union all
    select (select min(m.counter) from missing m where m.counter > o.of_counter) from missing_of o
    where o.of_counter is not null
)
select 'entries', (select count(*) from entry e where e.counter = o.of_counter),
       (select min(e.number) from entry e where e.counter = o.of_counter)
from entry_of o
where o.of_counter is not null and o.of_counter not in (select c.no from counter c)
union all
select 'events', (select count(*) from event v where v.chain = o.of_chain),
       (select min(v.number) from event v where v.chain = o.of_chain)
from event_of o
where o.of_chain > 0 and o.of_chain not in (select c.no from counter c)
   or o.of_chain < 0 and -o.of_chain not in (select g.no from gate g)
union all
select 'missing seqs', (select count(*) from missing m where m.counter = o.of_counter), null
from missing_of o
where o.of_counter is not null and o.of_counter not in (select c.no from counter c)
