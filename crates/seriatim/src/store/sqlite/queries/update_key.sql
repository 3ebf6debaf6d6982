-- A reissue: the key moves to the replacement.
update key set counter = ?2, seq = ?3, count = ?4 where hash = ?1
