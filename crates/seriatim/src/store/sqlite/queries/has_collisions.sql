-- Nearly always empty: asked once a batch, it saves a search for each key.
select exists (select 1 from key_collision)
