-- Most keys are new: nothing else is read before there is a hit.
select counter, seq, count from key where hash = ?1
