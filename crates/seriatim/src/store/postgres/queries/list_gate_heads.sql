-- For a checkpoint: where every chain ends, without the results.
select g.id, g.effect, g.tenant, g.subject, g.length, g.head from seriatim.gate g order by g.id
