-- The event that issued the number by its place, all others by their index.
select position, kind, seq, seq_last, number, date, key, params, reference, expires_at, link, reason_code, reason,
       document, actor, on_behalf_of, at, detail, hash
from event
where chain = ?1 and seq = ?2 and kind = 'issued' and number is not null
  and position = (select taken_position from entry where counter = ?1 and seq = ?2)
union all
select position, kind, seq, seq_last, number, date, key, params, reference, expires_at, link, reason_code, reason,
       document, actor, on_behalf_of, at, detail, hash
from event indexed by event_of_entry
where chain = ?1 and seq = ?2 and kind <> 'issued' and number is not null
order by position
