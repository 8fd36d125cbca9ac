-- Deletes one batch of one kind and says how many went; the worker calls it until none are left. The inner statement
-- chooses the rows, checks them again and locks them; `array(…)` makes it run once.
create or replace function app.purge_expired(kind text, keep interval, most integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  cut timestamptz := now() - keep;
  gone integer;
begin
  case kind
  when 'codes' then
    -- Each code by its own age. `updated_at` is not touched: it is the age of the session.
    with old as (
      select id, coalesce(qr_since < cut, false) as qr, coalesce(code_since < cut, false) as code
        from app.expired_codes where since < cut order by since limit most for update skip locked)
    update public.whatsapp_sessions s set
        qr_code = case when old.qr then null else s.qr_code end,
        qr_urlcode = case when old.qr then null else s.qr_urlcode end,
        qr_received_at = case when old.qr then null else s.qr_received_at end,
        qr_expires_at = case when old.qr then null else s.qr_expires_at end,
        phone_code = case when old.code then null else s.phone_code end,
        phone_code_at = case when old.code then null else s.phone_code_at end
      from old where s.id = old.id;
  when 'events' then
    delete from public.events where id = any(array(
      select id from app.expired_events where since < cut order by since limit most for update skip locked));
  when 'pending_acks' then
    delete from public.pending_acks where ctid = any(array(
      select place from app.expired_pending_acks where since < cut limit most for update skip locked));
  when 'heartbeats' then
    delete from public.heartbeats where ctid = any(array(
      select place from app.expired_heartbeats where since < cut limit most for update skip locked));
  when 'sign_in_attempts' then
    delete from public.sign_in_attempts where id = any(array(
      select id from app.expired_sign_in_attempts where since < cut order by since limit most for update skip locked));
  when 'signed_out' then
    delete from public.signed_out where sign_in_id = any(array(
      select sign_in_id from app.expired_signed_out where since < cut order by since limit most
         for update skip locked));
  when 'security_events' then
    return app.purge_security_events(keep, most);
  when 'timeline' then
    delete from public.session_timeline where id = any(array(
      select id from app.expired_timeline where since < cut order by since limit most for update skip locked));
  when 'jobs' then
    -- procrastinate's own triggers name its tables without their schema; this ends with the function.
    perform set_config('search_path', 'jobs', true);
    delete from jobs.procrastinate_jobs where id = any(array(
      select id from app.expired_jobs where since < cut limit most for update skip locked));
  when 'runs' then
    delete from public.cleanup_runs where id = any(array(
      select id from app.expired_runs where since < cut order by since limit most for update skip locked));
  end case;
  get diagnostics gone = row_count;
  return gone;
end $$;
revoke execute on function app.purge_expired from public;
grant execute on function app.purge_expired to service_role;
