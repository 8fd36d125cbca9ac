-- name: running_sessions
-- A session that runs, for each server: asking about it tells the version.
select given.url, one.session_id from unnest(cast(:urls as text[])) as given (url) cross join lateral ( select w.session_id from public.whatsapp_sessions w where w.server_url = given.url and w.status = 'conectado' limit 1) one
