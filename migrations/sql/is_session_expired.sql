-- Whether a row of `expired_sessions` may be deleted: what its server holds goes first, the row once its messages are
-- old, too. No search path of its own: the planner can then put its body in its place.
create or replace function app.is_session_expired(
  since timestamptz, cleared boolean, needed timestamptz, keep interval, history interval
) returns boolean language sql stable as $$
  select since < now() - keep and (not cleared or coalesce(needed < now() - history, true))
$$;
revoke execute on function app.is_session_expired from public;
