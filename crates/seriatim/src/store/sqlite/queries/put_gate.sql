-- The number of a new gate is needed by its first event, so gates come before events.
insert into gate (id, tenant, effect, subject, state, token, attempts, policy, due_at, holder, key, task, result, last_error,
                  opened_at, length, head)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
on conflict (id) do update
set state = excluded.state, token = excluded.token, attempts = excluded.attempts, due_at = excluded.due_at,
    holder = excluded.holder, key = excluded.key, task = excluded.task, result = excluded.result, last_error = excluded.last_error,
    length = excluded.length, head = excluded.head
returning no
