-- The newest messages of one user that hold the words typed. The last word may be unfinished: people search as they
-- type. It checks by itself who may read, because row-level security would keep the search from its index: the operator
-- @@ is not leakproof.
create or replace function app.search_messages(whose uuid, typed text, most integer) returns table (message_id uuid)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare wanted tsquery;
begin
  if whose is distinct from auth.uid() and not app.has_break_glass(whose, 'chats') then
    return;
  end if;
  wanted := (nullif(websearch_to_tsquery('pg_catalog.portuguese', app.fold_text(typed))::text, '') || ':*')::tsquery;
  return query
    select m.id from public.messages m
     where m.user_id = whose and m.body <> '' and app.get_search_words(m.body) @@ wanted
     order by m.occurred_at desc, m.seq desc limit most;
end $$;
revoke execute on function app.search_messages from public;
grant execute on function app.search_messages to authenticated;
