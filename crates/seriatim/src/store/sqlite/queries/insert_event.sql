-- The primary key refuses a second event at the same place; none is ever updated or, but for a wipe, deleted.
insert into event (chain, position, kind, seq, seq_last, number, date, key, params, reference, expires_at, link,
                   reason_code, reason, document, actor, on_behalf_of, at, detail, hash)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)
