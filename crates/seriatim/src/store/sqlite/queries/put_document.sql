-- Written again only if it differs: a document may have 64 KiB, and most changes of an entry leave it alone.
insert into document (entry, body) values (?1, ?2)
on conflict (entry) do update set body = excluded.body where body <> excluded.body
