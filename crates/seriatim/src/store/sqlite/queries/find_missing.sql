-- The run that begins at this seq or last before it; whether it reaches the seq is seen by the caller.
select first, last, reason from missing where counter = ?1 and first <= ?2 order by first desc limit 1
