-- The primary key refuses a second event at the same place; none is ever updated or, but for a wipe, deleted. The first
-- nine values are those that the events of one batch share. `or fail` as for entries.
insert or fail into event (kind, seq_last, date, expires_at, link, reason_code, reason, at, detail, chain, position, seq, number,
                   key, params, reference, document, actor, on_behalf_of, hash)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)
