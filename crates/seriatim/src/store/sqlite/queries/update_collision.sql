-- A reissue of a key whose hash was taken by another key.
update key_collision set counter = ?4, seq = ?5, count = ?6 where series = ?1 and tenant = ?2 and key = ?3
