-- A series whose counters have gone far cannot get a lower limit.
select max(last_seq) from counter where series = ?1
