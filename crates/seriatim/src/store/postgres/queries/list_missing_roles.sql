-- Which of the door's roles are not there: who installs may not be allowed to make any.
select r.name from unnest(array['seriatim_reader', 'seriatim_issuer', 'seriatim_worker', 'seriatim_admin']) r (name)
where not exists (select from pg_roles p where p.rolname = r.name)
