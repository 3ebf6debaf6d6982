-- The last step of a wipe: their numbers are never used again.
delete from counter where series = ?1
