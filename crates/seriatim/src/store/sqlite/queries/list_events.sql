-- The walk of a verification.
select position, kind, seq, seq_last, number, date, key, params, reference, expires_at, link, reason_code, reason,
       document, actor, on_behalf_of, at, detail, hash
from event
where chain = ?1 and position > ?2
order by position
limit ?3
