-- Number, date, key and params are fixed when a number is taken; only what can change is written.
update entry
set state = ?3, document_sha256 = ?4, issued_at = ?5, expires_at = ?6, voided_at = ?7, reason_code = ?8, reason = ?9,
    replaces = ?10, replacement = ?11, position = ?12, hash = ?13
where counter = ?1 and seq = ?2
returning no
