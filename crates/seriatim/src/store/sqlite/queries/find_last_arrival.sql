-- Where a search that begins at the newest entry begins.
select max(no) from entry
