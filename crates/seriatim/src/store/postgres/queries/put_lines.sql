-- A tenant in a series, known from its first counter on. Who else is putting it is waited for.
insert into seriatim.line (series, tenant)
select distinct i.series, i.tenant from unnest($1::text[], $2::text[]) i (series, tenant)
order by 1, 2
on conflict (series, tenant) do nothing
