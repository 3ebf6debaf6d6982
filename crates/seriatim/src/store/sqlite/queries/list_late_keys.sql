-- What may wait: entries in the order of their arrival, from where the tables of keys are known to be complete.
select counter, seq, key from entry where no > ?1 and key is not null order by no
