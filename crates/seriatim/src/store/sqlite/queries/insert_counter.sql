-- A counter's row comes before the first row that names it by its number.
insert into counter (id, series, tenant, partition, period, line, first_seq, last_seq, last_date,
                     issued, reserved, voided, missing, length, head)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
