-- Where the newest entries are.
select max(e.no) from seriatim.entry e
