-- What a wipe has to empty.
select no from counter where series = ?1
