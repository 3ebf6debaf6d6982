-- New, or revoked.
insert into seriatim.api_key (id, definition, revoked_at) values ($1::text, $2::text, $3::bigint)
on conflict (id) do update set definition = excluded.definition, revoked_at = excluded.revoked_at
