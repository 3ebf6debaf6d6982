-- Only when every node that lived when the server changed has found its last acknowledged batches here. Nodes that
-- have not been seen for long had ended before.
update seriatim.fence f
set timeline = $2::text, reason = null, changed_at = (extract(epoch from clock_timestamp()) * 1000000)::bigint
where f.open and f.system_id = $1::text and f.timeline <> $2::text
  and (select count(*) filter (where n.confirmed is not distinct from $1::text || '/' || $2::text) > 0
              and count(*) filter (where n.confirmed is distinct from $1::text || '/' || $2::text) = 0
       from (select n.confirmed, n.seen_at >= max(n.seen_at) over () - 30000000 as lived from seriatim.node n) n
       where n.lived)
returning f.changed_at
