-- Rows of a counter or gate that is not there, a row for each: which, how many, and a number among them. The indexes are
-- stepped over counter by counter, so that it takes no walk through all rows.
with recursive
entry_of (no) as (
    select min(e.counter) from seriatim.entry e
    union all
    select (select min(e.counter) from seriatim.entry e where e.counter > o.no) from entry_of o where o.no is not null
),
event_of (no) as (
    select min(v.chain) from seriatim.event v
    union all
    select (select min(v.chain) from seriatim.event v where v.chain > o.no) from event_of o where o.no is not null
),
missing_of (no) as (
    select min(m.counter) from seriatim.missing m
    union all
    select (select min(m.counter) from seriatim.missing m where m.counter > o.no) from missing_of o where o.no is not null
),
key_of (no) as (
    select min(k.counter) from seriatim.key k
    union all
    select (select min(k.counter) from seriatim.key k where k.counter > o.no) from key_of o where o.no is not null
)
select 'entries', (select count(*) from seriatim.entry e where e.counter = o.no),
       (select min(e.number) from seriatim.entry e where e.counter = o.no)
from entry_of o
where o.no is not null and not exists (select from seriatim.counter c where c.no = o.no)
union all
select 'events', (select count(*) from seriatim.event v where v.chain = o.no),
       (select min(v.number) from seriatim.event v where v.chain = o.no)
from event_of o
where o.no > 0 and not exists (select from seriatim.counter c where c.no = o.no)
   or o.no < 0 and not exists (select from seriatim.gate g where g.no = -o.no)
union all
select 'missing seqs', (select count(*) from seriatim.missing m where m.counter = o.no), null
from missing_of o
where o.no is not null and not exists (select from seriatim.counter c where c.no = o.no)
union all
select 'keys', (select count(*) from seriatim.key k where k.counter = o.no), null
from key_of o
where o.no is not null and not exists (select from seriatim.counter c where c.no = o.no)
