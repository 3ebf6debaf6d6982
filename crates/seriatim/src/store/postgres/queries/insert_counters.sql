-- A counter's row comes before the first row that names it by its number. It begins empty; the batch moves it.
insert into seriatim.counter (id, series, tenant, partition, period, line, first_seq, last_seq, last_date,
                              issued, reserved, voided, missing, length, head)
select i.id, i.series, i.tenant, i.partition, i.period, l.no, i.first_seq, i.first_seq - 1, null,
       0, 0, 0, 0, 0, i.genesis
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bytea[])
     i (id, series, tenant, partition, period, first_seq, genesis)
join seriatim.line l on l.series = i.series and l.tenant = i.tenant
returning id, no, line
