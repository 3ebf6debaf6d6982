-- The primary key is the last net: the same key twice is damage.
insert into key_collision (series, tenant, key, counter, seq, count) values (?1, ?2, ?3, ?4, ?5, ?6)
