-- Runs by seq, for the report of gaps.
select first, last, reason from missing where counter = ?1 and first > ?2 order by first limit ?3
