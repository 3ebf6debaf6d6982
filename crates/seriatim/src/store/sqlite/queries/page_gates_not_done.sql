-- Newest first, without a look at the many that are done.
select no, id, tenant, effect, subject, state, token, attempts, policy, due_at, holder, key, task, result, last_error,
       opened_at, length, head
from gate
where state <> 'done' and no < :before
  and state in (select value from json_each(:states))
  and (:effects is null or effect in (select value from json_each(:effects)))
  and (:tenants is null or tenant in (select value from json_each(:tenants)))
order by no desc
limit :limit
