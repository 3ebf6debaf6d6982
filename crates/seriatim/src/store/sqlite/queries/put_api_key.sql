-- New, or revoked.
insert into api_key (id, definition, revoked_at) values (?1, ?2, ?3)
on conflict (id) do update set definition = excluded.definition, revoked_at = excluded.revoked_at
