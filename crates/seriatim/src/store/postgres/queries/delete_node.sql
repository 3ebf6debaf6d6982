-- A node that ends in order has nothing left to confirm.
with gone as (delete from seriatim.node n where n.id = $1::bigint)
delete from seriatim.writer w where w.node = $1::bigint
