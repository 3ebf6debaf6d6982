-- By id, as they are shown.
select a.id, a.definition, a.revoked_at from seriatim.api_key a order by a.id
