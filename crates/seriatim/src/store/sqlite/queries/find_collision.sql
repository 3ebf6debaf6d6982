-- A key whose hash was taken by another key.
select counter, seq, count from key_collision where series = ?1 and tenant = ?2 and key = ?3
