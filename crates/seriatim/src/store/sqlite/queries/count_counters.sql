-- Tells whether a page begins in this series or in one that comes after it.
select count(*) from counter where series = ?1 and (?2 is null or period = ?2)
