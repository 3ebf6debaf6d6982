-- The row number is left to SQLite: the next one is the order of arrival.
insert into entry (counter, seq, line, number, state, origin, date, key, params, reference, document_sha256, taken_at,
                   issued_at, expires_at, voided_at, reason_code, reason, replaces, replacement, position, hash,
                   taken_position)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?20)
