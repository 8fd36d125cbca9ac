-- The words of a text, in the form in which a search finds them. The index of messages uses it.
create or replace function app.get_search_words(written text) returns tsvector
language sql immutable parallel safe strict as $$
  select to_tsvector('pg_catalog.portuguese', app.fold_text(written))
$$;
revoke execute on function app.get_search_words from public;
grant execute on function app.get_search_words to authenticated, service_role;
