-- A wipe used to leave `key_tail.after` above the `no`s that it gave free, so the keys of entries that took them again
-- may be in no table. Where anything was wiped, all entries are looked through once more.
update key_tail set after = 0
where exists (select 1 from event where chain = 0 and kind = 'wiped');
