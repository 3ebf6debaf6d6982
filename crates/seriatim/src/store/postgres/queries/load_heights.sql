-- The highest seq of any counter of a series.
select c.series, max(c.last_seq) from seriatim.counter c where c.series = any($1::text[]) group by c.series
