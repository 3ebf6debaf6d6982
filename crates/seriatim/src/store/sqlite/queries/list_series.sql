-- By name, as they are shown.
select name, version, definition from series order by name
