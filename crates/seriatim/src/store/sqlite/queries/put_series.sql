-- Only the latest version is kept here; the ones before are in the definitions chain.
insert into series (name, version, definition) values (?1, ?2, ?3)
on conflict (name) do update set version = excluded.version, definition = excluded.definition
