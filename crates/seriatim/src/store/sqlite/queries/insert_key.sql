-- A hash that is taken is no error yet: it may be another key's.
insert into key (hash, counter, seq, count) values (?1, ?2, ?3, ?4) on conflict (hash) do nothing
