-- Part of a wipe, while the entries are still there.
delete from document where entry in (select no from entry where counter = ?1)
