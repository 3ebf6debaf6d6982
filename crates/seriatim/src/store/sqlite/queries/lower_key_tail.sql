-- Part of a wipe: the next entries take the `no`s of the last ones again.
update key_tail set after = ?1 where after > ?1
