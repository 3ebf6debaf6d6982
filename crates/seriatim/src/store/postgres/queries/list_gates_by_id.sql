-- The walk of a verification.
select g.no, g.id, g.tenant, g.effect, g.subject, g.state, g.token, g.attempts, g.policy, g.due_at, g.holder, g.key,
       g.task, g.result, g.last_error, g.opened_at, g.length, g.head
from seriatim.gate g
where g.id > $1::text
order by g.id
limit $2::bigint
