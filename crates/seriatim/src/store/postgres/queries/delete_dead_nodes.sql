-- Those who have not said for long that they live. Their lanes stay: one that only slept finds its own again.
delete from seriatim.node n
where n.id in (select d.id from seriatim.node d
               where d.seen_at < (select max(m.seen_at) from seriatim.node m) - 30000000
               for update skip locked)
