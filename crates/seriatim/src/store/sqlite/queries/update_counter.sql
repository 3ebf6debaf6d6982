-- What a counter is called never changes; where it stands does, with every batch.
update counter
set first_seq = ?2, last_seq = ?3, last_date = ?4, issued = ?5, reserved = ?6, voided = ?7, missing = ?8,
    length = ?9, head = ?10
where no = ?1
