-- The entries of a counter that were taken with a key; whether the key still stands for them is another table's matter.
select seq, key from entry where counter = ?1 and key is not null
