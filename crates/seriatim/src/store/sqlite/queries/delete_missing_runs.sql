-- Part of a wipe.
delete from missing where counter = ?1
