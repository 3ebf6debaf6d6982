-- The text says it all; the version is apart so that a change is seen without parsing.
select name, version, definition from series where name = ?1
