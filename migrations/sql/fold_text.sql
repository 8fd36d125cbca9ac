-- The text without accents. Immutable, so that an index may use it: true as long as the dictionary's file stays as it
-- is. Made by `format`, because an installation may have had `unaccent` before, in another schema than `extensions`.
do $do$
declare place text;
begin
  select quote_ident(n.nspname) into strict place
    from pg_catalog.pg_extension e join pg_catalog.pg_namespace n on n.oid = e.extnamespace
   where e.extname = 'unaccent';
  execute format($format$
    create or replace function app.fold_text(words text) returns text
    language sql immutable parallel safe strict as
    $$ select %1$s.unaccent('%1$s.unaccent'::regdictionary, words) $$
  $format$, place);
end $do$;
revoke execute on function app.fold_text from public;
grant execute on function app.fold_text to authenticated, service_role;
