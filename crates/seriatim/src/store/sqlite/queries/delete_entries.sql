-- Part of a wipe.
delete from entry where counter = ?1
