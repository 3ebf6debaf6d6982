-- A tenant in a series, known from its first counter on; the same row whoever asks.
insert into line (series, tenant) values (?1, ?2)
on conflict (series, tenant) do update set series = excluded.series
returning no
