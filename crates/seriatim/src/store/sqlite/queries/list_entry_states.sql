-- In the order of the table: counting is done by the caller, for sorting ten million rows by counter would take longer.
select counter, seq, state from entry
where (?1 is null or date >= ?1) and (?2 is null or date <= ?2)
