-- The walk of a verification along the chain of a gate.
select v.position, v.kind, v.seq, v.seq_last, v.number, v.date, v.key, v.params, v.reference, v.expires_at, v.link,
       v.reason_code, v.reason, v.document, v.actor, v.on_behalf_of, v.at, v.detail, v.hash
from seriatim.event v
where v.chain = (select -g.no from seriatim.gate g where g.id = $1::text)
  and v.position > $2::bigint
order by v.position
limit $3::bigint
