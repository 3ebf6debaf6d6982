-- A run that was filled or split.
delete from missing where counter = ?1 and first = ?2 and last = ?3
