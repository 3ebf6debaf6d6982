-- The reason of a run that is split goes with both halves.
insert into missing (counter, first, last, reason) values (?1, ?2, ?3, ?4)
