-- Part of a wipe.
delete from closure where series = ?1
