-- Newest first.
select g.no, g.id, g.tenant, g.effect, g.subject, g.state, g.token, g.attempts, g.policy, g.due_at, g.holder, g.key,
       g.task, g.result, g.last_error, g.opened_at, g.length, g.head
from seriatim.gate g
where g.no < $1::bigint
  and ($2::text[] is null or g.state = any($2::text[]))
  and ($3::text[] is null or g.effect = any($3::text[]))
  and ($4::text[] is null or g.tenant = any($4::text[]))
order by g.no desc
limit $5::bigint
