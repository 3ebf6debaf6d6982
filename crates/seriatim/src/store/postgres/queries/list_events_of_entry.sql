-- By position.
select v.position, v.kind, v.seq, v.seq_last, v.number, v.date, v.key, v.params, v.reference, v.expires_at, v.link,
       v.reason_code, v.reason, v.document, v.actor, v.on_behalf_of, v.at, v.detail, v.hash
from seriatim.counter c
join seriatim.event v on v.chain = c.no
where c.id = $1::text and v.seq = $2::bigint and v.number is not null
order by v.position
