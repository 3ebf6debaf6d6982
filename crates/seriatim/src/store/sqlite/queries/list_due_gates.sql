-- What a claim may win now, those that wait longest first.
select no, id, tenant, effect, subject, state, token, attempts, policy, due_at, holder, key, task, result, last_error,
       opened_at, length, head
from gate
where state in ('open', 'claimed') and due_at <= ?1
  and (?2 is null or effect in (select value from json_each(?2)))
order by due_at, id
limit ?3
