-- The gate of an id, and the number that its chain goes by.
select no, id, tenant, effect, subject, state, token, attempts, policy, due_at, holder, key, task, result, last_error,
       opened_at, length, head
from gate where id = ?1
