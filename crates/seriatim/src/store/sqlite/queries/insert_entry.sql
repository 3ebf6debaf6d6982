-- The row number is left to SQLite: the next one is the order of arrival. The first eleven values are those that the
-- entries of one batch share. `or fail`: who fails undoes the transaction, so no page is copied to undo this alone.
insert or fail into entry (state, origin, date, taken_at, issued_at, expires_at, voided_at, reason_code, reason, replaces,
                   replacement, counter, seq, line, number, key, params, reference, document_sha256, position, hash,
                   taken_position)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?20)
