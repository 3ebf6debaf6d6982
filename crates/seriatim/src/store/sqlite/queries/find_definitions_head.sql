-- The definitions chain has no counter that would remember its end.
select position, hash from event where chain = 0 order by position desc limit 1
