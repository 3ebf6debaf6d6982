-- Part of a wipe: only if it stands for this very entry, for the hash may be another key's.
delete from key where hash = ?1 and counter = ?2 and seq = ?3
