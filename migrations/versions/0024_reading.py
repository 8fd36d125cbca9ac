"""Reading conversations: search in all of them, and staff only through broken glass."""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

# In a schema of their own, as Supabase has it; one that is there already stays where it is.
WORDS = """
create schema if not exists extensions;
grant usage on schema extensions to authenticated, service_role;
create extension if not exists unaccent schema extensions;
create extension if not exists btree_gin schema extensions;
do $$
declare place text;
begin
  select quote_ident(n.nspname) into place from pg_catalog.pg_extension e
    join pg_catalog.pg_namespace n on n.oid = e.extnamespace where e.extname = 'unaccent';
  execute format($f$
    create function app.folded(words text) returns text
    language sql immutable parallel safe strict as
    $g$ select %1$s.unaccent('%1$s.unaccent'::regdictionary, words) $g$
  $f$, place);
end $$;
comment on function app.folded is 'without accents; immutable as long as the dictionary''s file stays as it is';

create function app.words(written text) returns tsvector
language sql immutable parallel safe strict as $f$
  select to_tsvector('pg_catalog.portuguese', app.folded(written))
$f$;
create index messages_words on public.messages using gin (user_id, app.words(body)) where body <> '';
revoke execute on function app.folded(text), app.words(text) from public;
grant execute on function app.folded(text), app.words(text) to authenticated, service_role;
"""

# Row level security would not let an index serve a search: the operator is not one that cannot leak. So the search is a
# function that asks whose messages they are by itself. The last word may be unfinished: people search as they type.
SEARCH = """
create function app.search_messages(whose uuid, typed text, most integer) returns table (message_id uuid)
language plpgsql stable security definer set search_path = '' as $f$
declare wanted tsquery;
begin
  if whose is distinct from auth.uid() and not app.glass_broken(whose, 'chats') then
    return;
  end if;
  wanted := (nullif(websearch_to_tsquery('pg_catalog.portuguese', app.folded(typed))::text, '') || ':*')::tsquery;
  return query
    select m.id from public.messages m
     where m.user_id = whose and m.body <> '' and app.words(m.body) @@ wanted
     order by m.at desc, m.seq desc limit most;
end $f$;
revoke execute on function app.search_messages(uuid, text, integer) from public;
grant execute on function app.search_messages(uuid, text, integer) to authenticated;
"""

# Whose glass this person has broken, asked once a statement and not once a row.
GLASS = """
create function app.glass_broken_over(wanted text) returns setof uuid
language sql stable security definer set search_path = '' as $f$
  select g.user_id from public.broken_glass g
   where app.is_staff() and g.actor_id = auth.uid() and g.scope = wanted
     and g.ended_at is null and g.until > clock_timestamp()
$f$;
revoke execute on function app.glass_broken_over(text) from public;
grant execute on function app.glass_broken_over(text) to authenticated;

do $$
declare t text;
begin
  foreach t in array array['messages', 'contacts', 'message_marks', 'media', 'opt_outs'] loop
    execute format('create policy %I on public.%I for select to authenticated
      using (user_id in (select app.glass_broken_over(''chats'')))', t || '_through_glass', t);
  end loop;
end $$;
"""

# One's own reaction is noted once WhatsApp has it.
REACTIONS = """
grant insert, update (at, value) on public.message_marks to authenticated;
create policy message_marks_own_reaction on public.message_marks for insert to authenticated
  with check ((select auth.uid()) = user_id and kind = 'reaction' and who = 'me' and exists (
    select from public.whatsapp_sessions s where s.id = message_marks.session_id and s.user_id = (select auth.uid())));
create policy message_marks_own_reaction_changed on public.message_marks for update to authenticated
  using ((select auth.uid()) = user_id and kind = 'reaction' and who = 'me')
  with check ((select auth.uid()) = user_id and kind = 'reaction' and who = 'me');
"""

# The list of a person's conversations, newest first, also by what is typed of a name or a number.
INDEXES = """
create index contacts_unread on public.contacts (session_id) include (unread) where unread > 0;
"""

# How many messages of a session wait to be read: for its owner and for staff, who see the number and nothing else.
UNREAD = """
create function app.unread_of(session uuid) returns integer
language sql stable security definer set search_path = '' as $f$
  select coalesce(sum(c.unread), 0)::integer from public.contacts c
   where c.session_id = session and c.unread > 0 and (c.user_id = auth.uid() or app.is_staff())
$f$;
revoke execute on function app.unread_of(uuid) from public;
grant execute on function app.unread_of(uuid) to authenticated;
"""


def upgrade() -> None:
    driver = op.get_bind().connection.driver_connection
    for part in (WORDS, SEARCH, GLASS, REACTIONS, INDEXES, UNREAD):
        driver.execute(part)
