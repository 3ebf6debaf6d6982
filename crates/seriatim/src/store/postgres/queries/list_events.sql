-- The walk of a verification; chain 0 is that of the definitions.
select v.position, v.kind, v.seq, v.seq_last, v.number, v.date, v.key, v.params, v.reference, v.expires_at, v.link,
       v.reason_code, v.reason, v.document, v.actor, v.on_behalf_of, v.at, v.detail, v.hash
from seriatim.event v
where v.chain = case when $1::text is null then 0 else (select c.no from seriatim.counter c where c.id = $1::text) end
  and v.position > $2::bigint
order by v.position
limit $3::bigint
