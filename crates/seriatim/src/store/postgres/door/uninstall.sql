-- Takes everything of ours out of this database: tables, journal, functions, and the triggers on your tables. The roles
-- belong to the cluster and stay. While there are numbers or gates it takes the name of this database in a setting:
--   set seriatim.drop_numbers_of = 'shop';
do $$
declare
    entries bigint;
    gates bigint;
begin
    if to_regclass('seriatim.entry') is null then
        raise exception using errcode = 'SR404', message = 'not_installed: there is nothing of ours in this database';
    end if;
    lock table seriatim.counter, seriatim.entry, seriatim.gate in access exclusive mode;
    select count(*) into entries from seriatim.entry;
    select count(*) into gates from seriatim.gate;
    if entries + gates > 0 and coalesce(current_setting('seriatim.drop_numbers_of', true), '') <> current_database() then
        raise exception using errcode = 'SR409',
            message = format('has_numbers: %s numbers and %s gates with their journal would be gone from %s',
                entries, gates, current_database()),
            hint = 'keep them (`seriatim export`, or `seriatim pg detach`), or say the name of the database';
    end if;
    drop schema seriatim cascade;
end $$;
