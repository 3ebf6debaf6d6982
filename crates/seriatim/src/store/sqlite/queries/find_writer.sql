-- Which batch of this lane was committed last: the answer to a lost answer.
select batch from writer where node = ?1 and lane = ?2
