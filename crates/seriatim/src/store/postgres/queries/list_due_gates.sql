-- What a claim may win now, those that wait longest first.
select g.no, g.id, g.tenant, g.effect, g.subject, g.state, g.token, g.attempts, g.policy, g.due_at, g.holder, g.key,
       g.task, g.result, g.last_error, g.opened_at, g.length, g.head
from seriatim.gate g
where g.state in ('open', 'claimed') and g.due_at <= $1::bigint
  and ($2::text[] is null or g.effect = any($2::text[]))
order by g.due_at, g.id
limit $3::bigint
