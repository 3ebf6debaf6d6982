-- Whoever owns a schema drops what others made in it and puts something else in its place, and whoever may create there brings
-- functions that fit better than ours. Theirs would run with the rights of whoever makes or calls ours. So nothing is made
-- in the schema of a stranger. A superuser counts as a member of every role, and for him only his own schema will do.
do $$
declare
    schema pg_namespace;
    stranger text;
    mine oid[] := array(select r.oid from pg_roles r where r.rolname = current_user or r.rolsuper
        or not (select m.rolsuper from pg_roles m where m.rolname = current_user) and pg_has_role(r.oid, 'usage'));
begin
    select * into strict schema from pg_namespace n where n.nspname = 'seriatim';
    if schema.nspowner <> all (mine) then
        raise exception using errcode = 'SR403',
            message = format('schema_not_yours: the schema seriatim belongs to %s, who could replace what %s makes there',
                schema.nspowner::regrole, quote_ident(current_user)),
            hint = format('connect as %s, or a member of it; if it is not to own the numbers, drop the schema and do this again',
                schema.nspowner::regrole);
    end if;
    select coalesce(nullif(a.grantee, 0)::regrole::text, 'public') into stranger
        from aclexplode(schema.nspacl) a
        where a.privilege_type = 'CREATE' and a.grantee <> all (schema.nspowner || mine) limit 1;
    if found then
        raise exception using errcode = 'SR403',
            message = format('schema_not_yours: %s may create in the schema seriatim', stranger),
            hint = format('revoke create on schema seriatim from %s', stranger);
    end if;
    select pg_describe_object(o.class, o.oid, 0) || ' of ' || o.owner::regrole into stranger
        from (
            select 'pg_class'::regclass, c.oid, c.relowner from pg_class c where c.relnamespace = schema.oid
            union all select 'pg_proc', p.oid, p.proowner from pg_proc p where p.pronamespace = schema.oid
            union all select 'pg_type', t.oid, t.typowner from pg_type t where t.typnamespace = schema.oid
        ) o (class, oid, owner)
        where o.owner <> all (schema.nspowner || mine) limit 1;
    if found then
        raise exception using errcode = 'SR403',
            message = format('schema_not_yours: in the schema seriatim is somebody else''s %s', stranger),
            hint = 'drop it: nothing of ours is made by anybody but the owner of the schema';
    end if;
end $$;
