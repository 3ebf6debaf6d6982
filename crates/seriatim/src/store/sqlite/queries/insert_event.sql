-- The primary key refuses a second event at the same place; none is ever updated or, but for a wipe, deleted. Values 1
-- to 9 are those that the events of one batch share. The order of the columns and `or fail` as for entries.
insert or fail into event (chain, position, kind, seq, seq_last, number, date, key, params, reference, expires_at, link,
                           reason_code, reason, document, actor, on_behalf_of, at, detail, hash)
values (?10, ?11, ?1, ?12, ?2, ?13, ?3, ?14, ?15, ?16, ?4, ?5, ?6, ?7, ?17, ?18, ?19, ?8, ?9, ?20)
