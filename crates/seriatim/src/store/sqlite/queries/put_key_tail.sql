update key_tail set after = ?1
