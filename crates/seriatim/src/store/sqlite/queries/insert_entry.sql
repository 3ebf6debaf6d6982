-- The row number is left to SQLite: the next one is the order of arrival. Values 1 to 11 are those that the entries of
-- one batch share. The columns stand as in the table, so that SQLite need not put them in order. `or fail`: who fails
-- undoes the transaction, so no page is copied to undo this alone.
insert or fail into entry (no, counter, seq, line, number, state, origin, date, key, params, reference, document_sha256,
                           taken_at, issued_at, expires_at, voided_at, reason_code, reason, replaces, replacement,
                           position, hash, taken_position)
values (null, ?12, ?13, ?14, ?15, ?1, ?2, ?3, ?16, ?17, ?18, ?19, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?20, ?21, ?20)
