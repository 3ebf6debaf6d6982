update key_tail set after = ?1 where after <> ?1
