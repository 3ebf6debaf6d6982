-- The secret itself is not here, only its hash, within the definition.
select id, definition, revoked_at from api_key where id = ?1
