-- Whether the counter's line is that of its series and tenant.
select c.line = l.no from counter c left join line l on l.series = c.series and l.tenant = c.tenant where c.no = ?1
