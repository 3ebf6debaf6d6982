-- Only the latest version is kept here; the ones before are in the definitions chain.
insert into seriatim.series (name, version, definition) values ($1::text, $2::bigint, $3::text)
on conflict (name) do update set version = excluded.version, definition = excluded.definition
