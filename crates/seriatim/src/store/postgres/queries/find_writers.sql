-- Which batches of these lanes are here.
select w.node, w.lane, w.batch from seriatim.writer w where w.node = any($1::bigint[])
