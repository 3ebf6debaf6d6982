-- What SQLite makes by itself has no text.
select s.type, s.name, s.sql from sqlite_schema s where s.sql is not null and s.name not like 'sqlite\_%' escape '\'
