-- By name, as they are shown.
select s.name, s.version, s.definition from seriatim.series s order by s.name
