-- For a checkpoint: where every chain ends, without the results.
select id, effect, tenant, subject, length, head from gate order by id
