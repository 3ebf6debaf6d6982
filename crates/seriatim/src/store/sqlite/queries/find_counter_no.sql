-- Rows of other tables name a counter, and its tenant in its series, by a number.
select no, line from counter where id = ?1
