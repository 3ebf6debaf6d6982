-- Part of a wipe.
delete from key_collision where series = ?1
