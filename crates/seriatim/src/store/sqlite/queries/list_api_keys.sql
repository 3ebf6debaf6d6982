-- By id, as they are shown.
select id, definition, revoked_at from api_key order by id
