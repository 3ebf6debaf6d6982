-- By id.
select a.id, a.definition, a.revoked_at from seriatim.api_key a where a.id = any($1::text[])
