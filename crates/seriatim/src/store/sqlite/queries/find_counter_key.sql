-- Who a number of an entry's row stands for; remembered, since it never changes.
select no, id, series, tenant, partition, period from counter where no = ?1
