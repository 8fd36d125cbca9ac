-- Made by `make schema` from a migrated database: read it, do not edit it.

-- contents whose rows are gone and whose files are being deleted
create table app.media_deleting (
  user_id uuid not null,
  sha256 bytea not null,
  lease_until timestamp with time zone not null,
  PRIMARY KEY (user_id, sha256)
);

-- what the console knows of a user beyond auth.users; no row means the defaults
create table public.accounts (
  user_id uuid not null,
  name text,
  active boolean not null default true,
  token_version integer not null default 1,
  updated_at timestamp with time zone not null default now(),
  FOREIGN KEY (user_id) REFERENCES auth.users(id) ON DELETE CASCADE,
  PRIMARY KEY (user_id)
);
CREATE TRIGGER notify AFTER INSERT OR UPDATE OF active, token_version ON public.accounts FOR EACH ROW EXECUTE FUNCTION app.notify_account();
create policy accounts_of_database_owner on public.accounts for all to owner of the database using (true) with check (true);
create policy accounts_of_owner_or_staff on public.accounts for select to authenticated using (((( SELECT auth.uid() AS uid) = user_id) OR ( SELECT app.is_staff() AS is_staff)));
create policy accounts_of_system on public.accounts for all to service_role using (true) with check (true);
grant select on public.accounts to authenticated;
grant insert, select, update on public.accounts to service_role;

create table public.api_keys (
  id uuid not null default gen_random_uuid(),
  user_id uuid not null,
  name text not null,
  scopes text[] not null,
  prefix text not null,  -- the first characters of the key, by which its owner knows it again
  secret_hash bytea not null,  -- sha256 of 256 random bits: nobody guesses those
  created_at timestamp with time zone not null default now(),
  last_used_at timestamp with time zone,
  expires_at timestamp with time zone,
  revoked_at timestamp with time zone,
  CHECK (((cardinality(scopes) > 0) AND (scopes <@ ARRAY['read'::text, 'send'::text, 'session'::text]))),
  CHECK (((length(name) >= 1) AND (length(name) <= 80))),
  CHECK ((length(secret_hash) = 32)),
  FOREIGN KEY (user_id) REFERENCES auth.users(id) ON DELETE CASCADE,
  PRIMARY KEY (id)
);
CREATE INDEX api_keys_of_user ON public.api_keys USING btree (user_id, created_at DESC);
CREATE UNIQUE INDEX api_keys_secret ON public.api_keys USING btree (secret_hash);
create policy api_keys_made_for_oneself on public.api_keys for insert to authenticated with check ((( SELECT auth.uid() AS uid) = user_id));
create policy api_keys_of_database_owner on public.api_keys for all to owner of the database using (true) with check (true);
create policy api_keys_own_or_staff on public.api_keys for select to authenticated using (((( SELECT auth.uid() AS uid) = user_id) OR ( SELECT app.is_staff() AS is_staff)));
create policy api_keys_taken_back on public.api_keys for update to authenticated using ((((( SELECT auth.uid() AS uid) = user_id) OR ( SELECT app.is_staff() AS is_staff)) AND (revoked_at IS NULL))) with check ((((( SELECT auth.uid() AS uid) = user_id) OR ( SELECT app.is_staff() AS is_staff)) AND (revoked_at IS NOT NULL)));
grant insert (expires_at, name, prefix, scopes, secret_hash, user_id) on public.api_keys to authenticated;
grant select (created_at, expires_at, id, last_used_at, name, prefix, revoked_at, scopes, user_id) on public.api_keys to authenticated;
grant update (revoked_at) on public.api_keys to authenticated;

-- the newest record of audit_log, moved by its trigger: shows a missing end
create table public.audit_head (
  only_row boolean not null default true,
  seq bigint not null,
  hash bytea not null,
  CHECK (only_row),
  PRIMARY KEY (only_row)
);
CREATE TRIGGER only_by_the_chain BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON public.audit_head FOR EACH STATEMENT WHEN ((pg_trigger_depth() < 1)) EXECUTE FUNCTION app.refuse_change();
create policy audit_head_of_database_owner on public.audit_head for all to owner of the database using (true) with check (true);
create policy audit_head_of_staff on public.audit_head for select to authenticated using (( SELECT app.is_staff() AS is_staff));
create policy audit_head_of_system on public.audit_head for all to service_role using (true) with check (true);
grant select on public.audit_head to authenticated;
grant select on public.audit_head to service_role;

create table public.audit_log (
  id bigint not null generated always as identity,
  actor_id uuid,
  actor_role text not null,
  action text not null,
  subject text,
  detail jsonb not null default '{}'::jsonb,
  request_id text,
  occurred_at timestamp with time zone not null default clock_timestamp(),
  seq bigint not null,  -- place in the chain, from 1 without a gap, in the order of commits
  prev_hash bytea not null,
  hash bytea not null,
  PRIMARY KEY (id)
);
CREATE INDEX audit_log_action ON public.audit_log USING btree (action, occurred_at DESC, seq DESC);
CREATE INDEX audit_log_actor ON public.audit_log USING btree (actor_id, occurred_at DESC, seq DESC);
CREATE INDEX audit_log_at ON public.audit_log USING btree (occurred_at DESC, seq DESC);
CREATE INDEX audit_log_subject ON public.audit_log USING btree (subject, occurred_at DESC, seq DESC);
CREATE UNIQUE INDEX audit_log_seq ON public.audit_log USING btree (seq);
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.audit_log FOR EACH STATEMENT EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER chain_audit BEFORE INSERT ON public.audit_log FOR EACH ROW EXECUTE FUNCTION app.chain_audit();
create policy audit_log_by_actor on public.audit_log for insert to authenticated with check (((( SELECT auth.uid() AS uid) = actor_id) AND (actor_role = ( SELECT app.claimed_role() AS claimed_role))));
create policy audit_log_of_database_owner on public.audit_log for all to owner of the database using (true) with check (true);
create policy audit_log_of_staff on public.audit_log for select to authenticated using (( SELECT app.is_staff() AS is_staff));
create policy audit_log_of_system on public.audit_log for all to service_role using (true) with check ((actor_id IS NULL));
grant insert (action, actor_id, actor_role, detail, request_id, subject) on public.audit_log to authenticated;
grant select on public.audit_log to authenticated;
grant insert (action, actor_id, actor_role, detail, request_id, subject) on public.audit_log to service_role;
grant select on public.audit_log to service_role;

-- what automations did, without a word of what was said
create table public.automation_uses (
  id bigint not null generated always as identity,
  automation_id uuid not null,
  user_id uuid not null,
  contact_id uuid not null,
  message_id uuid,
  action text not null,  -- done, or why an automatic reply was withheld
  day date not null,  -- by the automation's own time zone
  occurred_at timestamp with time zone not null default clock_timestamp(),
  CHECK ((action = ANY (ARRAY['replied'::text, 'labelled'::text, 'automatic'::text, 'opted_out'::text, 'too_many'::text]))),
  FOREIGN KEY (automation_id) REFERENCES automations(id) ON DELETE CASCADE,
  FOREIGN KEY (contact_id) REFERENCES contacts(id) ON DELETE CASCADE,
  FOREIGN KEY (message_id) REFERENCES messages(id) ON DELETE SET NULL,
  PRIMARY KEY (id)
);
CREATE INDEX automation_uses_of_contact ON public.automation_uses USING btree (contact_id);
CREATE INDEX automation_uses_of_message ON public.automation_uses USING btree (message_id) WHERE (message_id IS NOT NULL);
CREATE INDEX automation_uses_of_user ON public.automation_uses USING btree (user_id, id DESC);
CREATE UNIQUE INDEX automation_uses_once_a_day ON public.automation_uses USING btree (automation_id, contact_id, day, action);
create policy automation_uses_of_database_owner on public.automation_uses for all to owner of the database using (true) with check (true);
create policy automation_uses_of_owner_or_staff on public.automation_uses for select to authenticated using (((( SELECT auth.uid() AS uid) = user_id) OR ( SELECT app.is_staff() AS is_staff)));
create policy automation_uses_of_system on public.automation_uses for all to service_role using (true) with check (true);
grant select on public.automation_uses to authenticated;
grant delete, insert, select, update on public.automation_uses to service_role;

-- what a user wants done with what comes in
create table public.automations (
  id uuid not null default gen_random_uuid(),
  user_id uuid not null,
  kind text not null,
  active boolean not null default true,
  reply text,
  time_zone text,
  hours jsonb,  -- from Monday on, each day's hours as ["08:00", "18:00"], or null: closed
  words text[],
  label text,
  created_at timestamp with time zone not null default now(),
  CHECK (
CASE kind
    WHEN 'auto_reply'::text THEN ((reply IS NOT NULL) AND (time_zone IS NOT NULL) AND (jsonb_typeof(hours) = 'array'::text))
    ELSE ((cardinality(words) > 0) AND (label IS NOT NULL))
END),
  CHECK ((kind = ANY (ARRAY['auto_reply'::text, 'label'::text]))),
  FOREIGN KEY (user_id) REFERENCES auth.users(id) ON DELETE CASCADE,
  PRIMARY KEY (id)
);
CREATE INDEX automations_of_user ON public.automations USING btree (user_id);
CREATE UNIQUE INDEX automations_one_auto_reply ON public.automations USING btree (user_id) WHERE (kind = 'auto_reply'::text);
create policy automations_of_owner on public.automations for all to authenticated using ((( SELECT auth.uid() AS uid) = user_id)) with check ((( SELECT auth.uid() AS uid) = user_id));
create policy automations_of_system on public.automations for all to service_role using (true) with check (true);
grant delete, select on public.automations to authenticated;
grant insert (active, hours, kind, label, reply, time_zone, user_id, words) on public.automations to authenticated;
grant update (active, hours, reply, time_zone) on public.automations to authenticated;
grant delete, insert, select, update on public.automations to service_role;

-- staff who look at what is a user's own: why, and until when; it ends by time
create table public.break_glass_grants (
  id uuid not null default gen_random_uuid(),
  actor_id uuid not null,
  user_id uuid not null,
  scope text not null,
  reason text not null,
  started_at timestamp with time zone not null default now(),
  expires_at timestamp with time zone not null,
  ended_at timestamp with time zone,
  CHECK (((expires_at > started_at) AND (expires_at <= (started_at + '01:00:00'::interval)))),
  CHECK (((length(btrim(reason)) >= 10) AND (length(btrim(reason)) <= 500))),
  CHECK ((scope = ANY (ARRAY['qr'::text, 'chats'::text]))),
  PRIMARY KEY (id)
);
CREATE INDEX break_glass_grants_active ON public.break_glass_grants USING btree (actor_id, user_id, scope, expires_at DESC) WHERE (ended_at IS NULL);
CREATE TRIGGER allow_only_ending BEFORE UPDATE ON public.break_glass_grants FOR EACH ROW EXECUTE FUNCTION app.allow_only_ending();
CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON public.break_glass_grants FOR EACH STATEMENT EXECUTE FUNCTION app.refuse_change();
create policy break_glass_grants_by_staff on public.break_glass_grants for insert to authenticated with check ((( SELECT app.is_staff() AS is_staff) AND (( SELECT auth.uid() AS uid) = actor_id)));
create policy break_glass_grants_for_its_user on public.break_glass_grants for select to authenticated using ((( SELECT auth.uid() AS uid) = user_id));
create policy break_glass_grants_mended_by_actor on public.break_glass_grants for update to authenticated using ((( SELECT app.is_staff() AS is_staff) AND (( SELECT auth.uid() AS uid) = actor_id))) with check ((( SELECT app.is_staff() AS is_staff) AND (( SELECT auth.uid() AS uid) = actor_id)));
create policy break_glass_grants_of_database_owner on public.break_glass_grants for all to owner of the database using (true) with check (true);
create policy break_glass_grants_of_staff on public.break_glass_grants for select to authenticated using (( SELECT app.is_staff() AS is_staff));
create policy break_glass_grants_of_system on public.break_glass_grants for all to service_role using (true) with check (true);
grant insert (actor_id, expires_at, reason, scope, user_id) on public.break_glass_grants to authenticated;
grant select on public.break_glass_grants to authenticated;
grant update (ended_at) on public.break_glass_grants to authenticated;
grant select on public.break_glass_grants to service_role;

-- one a sender: whoever holds its row is the only one to release for it
create table public.campaign_lanes (
  user_id uuid not null,
  phone_number text,
  warmup_started_at timestamp with time zone,  -- since when this number has been connected
  time_zone text not null,
  available_at timestamp with time zone not null default now(),  -- until when the number rests from its last message of a campaign
  next_check_at timestamp with time zone,  -- when the worker looks next; null while no campaign is under way
  waiting_reason text,
  refusals smallint not null default 0,  -- messages to strangers in a row that WhatsApp refused
  refused_since timestamp with time zone,  -- when the first of them was released
  restricted_at timestamp with time zone,  -- since when WhatsApp is taken to refuse strangers
  probe_at timestamp with time zone,  -- when one message to a stranger may try again
  refused_probes smallint not null default 0,
  delivered_probes smallint not null default 0,
  FOREIGN KEY (user_id) REFERENCES auth.users(id) ON DELETE CASCADE,
  PRIMARY KEY (user_id)
);
CREATE INDEX campaign_lanes_due ON public.campaign_lanes USING btree (next_check_at) WHERE (next_check_at IS NOT NULL);
CREATE INDEX campaign_lanes_restricted ON public.campaign_lanes USING btree (user_id) WHERE (restricted_at IS NOT NULL);
CREATE TRIGGER notify AFTER INSERT OR UPDATE OF time_zone, waiting_reason ON public.campaign_lanes FOR EACH ROW EXECUTE FUNCTION app.notify_campaign();
CREATE TRIGGER notify_restriction AFTER UPDATE OF restricted_at, probe_at ON public.campaign_lanes FOR EACH ROW WHEN (((new.restricted_at IS DISTINCT FROM old.restricted_at) OR (new.probe_at IS DISTINCT FROM old.probe_at))) EXECUTE FUNCTION app.notify_campaign();
create policy campaign_lanes_changed_by_owner on public.campaign_lanes for update to authenticated using ((( SELECT auth.uid() AS uid) = user_id)) with check ((( SELECT auth.uid() AS uid) = user_id));
create policy campaign_lanes_made_by_owner on public.campaign_lanes for insert to authenticated with check ((( SELECT auth.uid() AS uid) = user_id));
create policy campaign_lanes_of_owner on public.campaign_lanes for select to authenticated using ((( SELECT auth.uid() AS uid) = user_id));
create policy campaign_lanes_of_system on public.campaign_lanes for all to service_role using (true) with check (true);
grant insert (next_check_at, phone_number, time_zone, user_id, warmup_started_at) on public.campaign_lanes to authenticated;
grant select on public.campaign_lanes to authenticated;
grant update (next_check_at, phone_number, time_zone, warmup_started_at) on public.campaign_lanes to authenticated;
grant delete, insert, select, update on public.campaign_lanes to service_role;

create table public.campaign_recipients (
  campaign_id uuid not null,
  seq integer not null,
  user_id uuid not null,
  phone text not null,
  name text,
  variables jsonb not null default '{}'::jsonb,
  cold boolean not null default true,  -- did not write to the session lately, when the list was made
  state text not null default 'waiting'::text,
  reason text,
  message_id uuid,
  released_at timestamp with time zone,
  retries smallint not null default 0,  -- how often they wait again because WhatsApp refused strangers
  refused_message_id uuid,  -- the message that WhatsApp refused; should it arrive all the same, nobody writes again
  CHECK ((seq > 0)),
  CHECK ((state = ANY (ARRAY['waiting'::text, 'released'::text, 'skipped'::text, 'cancelled'::text]))),
  FOREIGN KEY (campaign_id, user_id) REFERENCES campaigns(id, user_id) ON DELETE CASCADE,
  FOREIGN KEY (message_id) REFERENCES messages(id) ON DELETE SET NULL,
  FOREIGN KEY (refused_message_id) REFERENCES messages(id) ON DELETE SET NULL,
  PRIMARY KEY (campaign_id, seq),
  UNIQUE (campaign_id, phone)
);
CREATE INDEX campaign_recipients_by_state ON public.campaign_recipients USING btree (campaign_id, state);
CREATE INDEX campaign_recipients_message ON public.campaign_recipients USING btree (message_id) WHERE (message_id IS NOT NULL);
CREATE INDEX campaign_recipients_refused ON public.campaign_recipients USING btree (refused_message_id) WHERE (refused_message_id IS NOT NULL);
CREATE INDEX campaign_recipients_released ON public.campaign_recipients USING btree (user_id, released_at) INCLUDE (cold) WHERE (released_at IS NOT NULL);
CREATE INDEX campaign_recipients_waiting ON public.campaign_recipients USING btree (campaign_id, cold, retries, seq) WHERE (state = 'waiting'::text);
CREATE TRIGGER notify AFTER UPDATE OF state ON public.campaign_recipients FOR EACH ROW EXECUTE FUNCTION app.notify_campaign();
create policy campaign_recipients_made_by_owner on public.campaign_recipients for insert to authenticated with check ((( SELECT auth.uid() AS uid) = user_id));
create policy campaign_recipients_of_database_owner on public.campaign_recipients for all to owner of the database using (true) with check (true);
create policy campaign_recipients_of_owner on public.campaign_recipients for select to authenticated using ((( SELECT auth.uid() AS uid) = user_id));
create policy campaign_recipients_of_system on public.campaign_recipients for all to service_role using (true) with check (true);
grant insert (campaign_id, cold, name, phone, seq, user_id, variables) on public.campaign_recipients to authenticated;
grant select on public.campaign_recipients to authenticated;
grant delete, insert, select, update on public.campaign_recipients to service_role;

-- one template to many, released one by one as pacing allows
create table public.campaigns (
  id uuid not null default gen_random_uuid(),
  user_id uuid not null,
  name text not null,
  template_id uuid not null,
  template_version integer not null,
  opens time without time zone not null,
  closes time without time zone not null,
  cap integer not null,  -- of the session, over all its campaigns, on one day
  cold_share double precision not null,
  pace double precision not null,
  state text not null default 'draft'::text,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  started_at timestamp with time zone,
  ended_at timestamp with time zone,
  swept_at timestamp with time zone,  -- when the worker had taken back what was released but had not left
  CHECK (((cold_share >= (0)::double precision) AND (cold_share <= (1)::double precision))),
  CHECK (((length(name) >= 1) AND (length(name) <= 80))),
  CHECK ((cap > 0)),
  CHECK ((pace >= (0)::double precision)),
  CHECK ((state = ANY (ARRAY['draft'::text, 'active'::text, 'paused'::text, 'cancelled'::text, 'ended'::text]))),
  FOREIGN KEY (user_id) REFERENCES auth.users(id) ON DELETE CASCADE,
  PRIMARY KEY (id),
  UNIQUE (id, user_id)
);
CREATE INDEX campaigns_active ON public.campaigns USING btree (user_id, started_at) WHERE (state = 'active'::text);
CREATE INDEX campaigns_of_user ON public.campaigns USING btree (user_id, created_at DESC, id);
CREATE INDEX campaigns_unswept ON public.campaigns USING btree (id) WHERE ((state = 'cancelled'::text) AND (swept_at IS NULL));
CREATE TRIGGER notify AFTER INSERT OR UPDATE ON public.campaigns FOR EACH ROW EXECUTE FUNCTION app.notify_campaign();
create policy campaigns_changed_by_owner on public.campaigns for update to authenticated using ((( SELECT auth.uid() AS uid) = user_id)) with check ((( SELECT auth.uid() AS uid) = user_id));
create policy campaigns_made_by_owner on public.campaigns for insert to authenticated with check ((( SELECT auth.uid() AS uid) = user_id));
create policy campaigns_of_owner on public.campaigns for select to authenticated using ((( SELECT auth.uid() AS uid) = user_id));
create policy campaigns_of_system on public.campaigns for all to service_role using (true) with check (true);
grant insert (cap, closes, cold_share, id, name, opens, pace, template_id, template_version, user_id) on public.campaigns to authenticated;
grant select on public.campaigns to authenticated;
grant update (cap, closes, cold_share, ended_at, name, opens, pace, started_at, state, updated_at) on public.campaigns to authenticated;
grant delete, insert, select, update on public.campaigns to service_role;

create table public.cleanup_runs (
  id bigint not null generated always as identity,
  actor_id uuid,  -- null: the hourly clean-up
  kinds text[] not null,
  expected jsonb not null default '{}'::jsonb,  -- kind → how many rows had expired when the run was asked for
  counts jsonb not null default '{}'::jsonb,  -- kind → how many went, written with each batch
  postponed integer not null default 0,
  error text,
  created_at timestamp with time zone not null default clock_timestamp(),
  started_at timestamp with time zone,
  finished_at timestamp with time zone,
  CHECK ((kinds <@ ARRAY['codes'::text, 'sessions'::text, 'events'::text, 'pending_acks'::text, 'heartbeats'::text, 'sign_in_attempts'::text, 'signed_out'::text, 'security_events'::text, 'timeline'::text, 'jobs'::text, 'media'::text, 'runs'::text])),
  PRIMARY KEY (id)
);
CREATE INDEX cleanup_runs_finished ON public.cleanup_runs USING btree (finished_at) WHERE (finished_at IS NOT NULL);
CREATE UNIQUE INDEX cleanup_runs_one ON public.cleanup_runs USING btree ((true)) WHERE (finished_at IS NULL);
CREATE TRIGGER notify AFTER INSERT OR UPDATE ON public.cleanup_runs FOR EACH ROW EXECUTE FUNCTION app.notify_cleanup();
create policy cleanup_runs_by_admin on public.cleanup_runs for insert to authenticated with check ((( SELECT app.is_admin() AS is_admin) AND (( SELECT auth.uid() AS uid) = actor_id)));
create policy cleanup_runs_of_database_owner on public.cleanup_runs for all to owner of the database using (true) with check (true);
create policy cleanup_runs_of_staff on public.cleanup_runs for select to authenticated using (( SELECT app.is_staff() AS is_staff));
create policy cleanup_runs_of_system on public.cleanup_runs for all to service_role using (true) with check (true);
grant insert (actor_id, expected, kinds) on public.cleanup_runs to authenticated;
grant select on public.cleanup_runs to authenticated;
grant delete, insert, select, update on public.cleanup_runs to service_role;

-- what became of campaigns' messages to strangers, until the release has counted it
create table public.cold_outcomes (
  id bigint not null generated always as identity,
  user_id uuid not null,
  message_id uuid not null,
  outcome text not null,
  CHECK ((outcome = ANY (ARRAY['refused'::text, 'accepted'::text, 'delivered'::text]))),
  FOREIGN KEY (message_id) REFERENCES messages(id) ON DELETE CASCADE,
  FOREIGN KEY (user_id) REFERENCES auth.users(id) ON DELETE CASCADE,
  PRIMARY KEY (id)
);
CREATE INDEX cold_outcomes_of_message ON public.cold_outcomes USING btree (message_id);
CREATE INDEX cold_outcomes_of_user ON public.cold_outcomes USING btree (user_id, id);
create policy cold_outcomes_of_database_owner on public.cold_outcomes for all to owner of the database using (true) with check (true);
create policy cold_outcomes_of_system on public.cold_outcomes for all to service_role using (true) with check (true);
grant delete, select on public.cold_outcomes to service_role;

-- who is meant by an address: every address that a contact has
create table public.contact_addresses (
  session_id uuid not null,
  address text not null,  -- in the form of app.get_address_key
  contact_id uuid not null,
  user_id uuid not null,
  FOREIGN KEY (contact_id) REFERENCES contacts(id) ON DELETE CASCADE,
  FOREIGN KEY (session_id) REFERENCES whatsapp_sessions(id) ON DELETE CASCADE,
  PRIMARY KEY (session_id, address)
);
CREATE INDEX contact_addresses_of_contact ON public.contact_addresses USING btree (contact_id);
CREATE TRIGGER share_opt_outs AFTER INSERT OR UPDATE OF contact_id ON public.contact_addresses FOR EACH ROW EXECUTE FUNCTION app.share_opt_outs();
create policy contact_addresses_of_database_owner on public.contact_addresses for all to owner of the database using (true) with check (true);
create policy contact_addresses_of_owner on public.contact_addresses for select to authenticated using ((( SELECT auth.uid() AS uid) = user_id));
create policy contact_addresses_of_system on public.contact_addresses for all to service_role using (true) with check (true);
create policy contact_addresses_through_break_glass on public.contact_addresses for select to authenticated using ((user_id IN ( SELECT app.list_break_glass_users('chats'::text) AS list_break_glass_users)));
grant select on public.contact_addresses to authenticated;
grant delete, insert, select, update on public.contact_addresses to service_role;

create table public.contacts (
  id uuid not null default gen_random_uuid(),
  session_id uuid not null,
  user_id uuid not null,
  address text not null,  -- the chat as WhatsApp knows it: 55…@c.us, …@lid or …@g.us
  phone text,  -- digits with country code, once known; null for groups
  lid text,  -- the anonymous id of the same person, once known
  is_group boolean not null default false,
  name text,  -- as its owner calls it; pushname is how the contact calls itself
  pushname text,
  notes text not null default ''::text,
  labels text[] not null default '{}'::text[],
  unread integer not null default 0,
  identify_at timestamp with time zone,  -- when the phone behind its @lid, or the group's name, is to be asked for; null: never
  identifications integer not null default 0,
  blocked_at timestamp with time zone,
  last_message_at timestamp with time zone,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  name_typed boolean not null default false,  -- its owner typed the name here; else it follows the phone's address book
  identified_at timestamp with time zone,  -- the newest word, by WhatsApp's clock, that its phone and its @lid are one person
  read_until timestamp with time zone,  -- what came until then was read on the phone
  of_number text,  -- the session's earlier number whose conversation it is, as app.get_address_key writes it; null: the present one's
  CHECK ((unread >= 0)),
  FOREIGN KEY (session_id) REFERENCES whatsapp_sessions(id) ON DELETE CASCADE,
  PRIMARY KEY (id)
);
CREATE INDEX contacts_earlier_address ON public.contacts USING btree (session_id, app.get_address_key(address)) WHERE (of_number IS NOT NULL);
CREATE INDEX contacts_earlier_lid ON public.contacts USING btree (session_id, lid) WHERE ((of_number IS NOT NULL) AND (lid IS NOT NULL));
CREATE INDEX contacts_earlier_phone ON public.contacts USING btree (session_id, app.get_address_key(phone)) WHERE ((of_number IS NOT NULL) AND (phone IS NOT NULL));
CREATE INDEX contacts_recent ON public.contacts USING btree (user_id, last_message_at DESC NULLS LAST, id);
CREATE INDEX contacts_to_identify ON public.contacts USING btree (identify_at) WHERE (identify_at IS NOT NULL);
CREATE INDEX contacts_unread ON public.contacts USING btree (session_id) INCLUDE (unread) WHERE (unread > 0);
CREATE UNIQUE INDEX contacts_address ON public.contacts USING btree (session_id, address) WHERE (of_number IS NULL);
CREATE UNIQUE INDEX contacts_lid ON public.contacts USING btree (session_id, lid) WHERE ((lid IS NOT NULL) AND (of_number IS NULL));
CREATE UNIQUE INDEX contacts_phone ON public.contacts USING btree (session_id, phone) WHERE ((phone IS NOT NULL) AND (of_number IS NULL));
CREATE TRIGGER notify AFTER UPDATE OF unread, name, labels, blocked_at ON public.contacts FOR EACH ROW EXECUTE FUNCTION app.notify_message();
CREATE TRIGGER record_addresses AFTER INSERT OR UPDATE OF address, phone, lid ON public.contacts FOR EACH ROW WHEN ((new.of_number IS NULL)) EXECUTE FUNCTION app.record_addresses();
create policy contacts_changed_by_owner on public.contacts for update to authenticated using ((( SELECT auth.uid() AS uid) = user_id)) with check ((( SELECT auth.uid() AS uid) = user_id));
create policy contacts_of_database_owner on public.contacts for all to owner of the database using (true) with check (true);
create policy contacts_of_owner on public.contacts for select to authenticated using ((( SELECT auth.uid() AS uid) = user_id));
create policy contacts_of_system on public.contacts for all to service_role using (true) with check (true);
create policy contacts_through_break_glass on public.contacts for select to authenticated using ((user_id IN ( SELECT app.list_break_glass_users('chats'::text) AS list_break_glass_users)));
grant select on public.contacts to authenticated;
grant update (blocked_at, labels, name, name_typed, notes, unread, updated_at) on public.contacts to authenticated;
grant delete, insert, select, update on public.contacts to service_role;

-- what an event would change: asked by staff, answered by the worker
create table public.event_dry_runs (
  id uuid not null default gen_random_uuid(),
  event_id bigint not null,
  actor_id uuid not null,
  answer jsonb,
  asked_at timestamp with time zone not null default clock_timestamp(),
  FOREIGN KEY (event_id) REFERENCES events(id) ON DELETE CASCADE,
  PRIMARY KEY (id)
);
CREATE INDEX event_dry_runs_of_event ON public.event_dry_runs USING btree (event_id);
CREATE INDEX event_dry_runs_waiting ON public.event_dry_runs USING btree (asked_at) WHERE (answer IS NULL);
create policy event_dry_runs_by_staff on public.event_dry_runs for insert to authenticated with check ((( SELECT app.is_staff() AS is_staff) AND (( SELECT auth.uid() AS uid) = actor_id)));
create policy event_dry_runs_of_database_owner on public.event_dry_runs for select to owner of the database using (true);
create policy event_dry_runs_of_staff on public.event_dry_runs for select to authenticated using ((( SELECT app.is_staff() AS is_staff) AND (( SELECT auth.uid() AS uid) = actor_id)));
create policy event_dry_runs_of_system on public.event_dry_runs for all to service_role using (true) with check (true);
grant insert (actor_id, event_id) on public.event_dry_runs to authenticated;
grant select on public.event_dry_runs to authenticated;
grant delete, insert, select, update on public.event_dry_runs to service_role;

-- every webhook delivery, stored raw before it is answered
create table public.events (
  id bigint not null generated always as identity,
  request_id uuid not null,
  session text,  -- proved by the URL, or named by a holder of the shared token
  current_secret boolean not null default true,  -- false when the URL was that of an earlier pairing attempt
  kind text not null,
  dedupe_key uuid,
  body text not null,  -- as it came; text, because jsonb refuses \u0000 and reorders keys
  verdict text not null default 'received'::text,
  attempts integer not null default 0,
  error text,
  received_at timestamp with time zone not null default clock_timestamp(),
  retry_at timestamp with time zone,
  handled_at timestamp with time zone,
  CHECK ((verdict = ANY (ARRAY['received'::text, 'handled'::text, 'duplicate'::text, 'unsupported'::text, 'failed'::text, 'invalid'::text]))),
  PRIMARY KEY (id)
);
CREATE INDEX events_done ON public.events USING btree (received_at) WHERE (verdict <> 'received'::text);
CREATE INDEX events_of_kind ON public.events USING btree (kind, id) WHERE (verdict <> 'received'::text);
CREATE INDEX events_of_session ON public.events USING btree (session, id) WHERE (verdict <> 'received'::text);
CREATE INDEX events_of_verdict ON public.events USING btree (verdict, id) WHERE (verdict = ANY (ARRAY['duplicate'::text, 'unsupported'::text, 'failed'::text, 'invalid'::text]));
CREATE INDEX events_waiting ON public.events USING btree (id) WHERE (verdict = 'received'::text);
CREATE UNIQUE INDEX events_once ON public.events USING btree (dedupe_key) WHERE (verdict <> 'duplicate'::text);
create policy events_of_database_owner on public.events for all to owner of the database using (true) with check (true);
create policy events_of_staff on public.events for select to authenticated using (( SELECT app.is_staff() AS is_staff));
create policy events_of_system on public.events for all to service_role using (true) with check (true);
create policy events_replayed_by_staff on public.events for update to authenticated using ((( SELECT app.is_staff() AS is_staff) AND (verdict = 'failed'::text))) with check ((( SELECT app.is_staff() AS is_staff) AND (verdict = 'received'::text)));
grant select on public.events to authenticated;
grant update (attempts, retry_at, verdict) on public.events to authenticated;
grant delete, insert, select, update on public.events to service_role;

create table public.fleet_samples (
  sampled_at timestamp with time zone not null,
  figures jsonb not null,
  PRIMARY KEY (sampled_at)
);
create policy fleet_samples_of_database_owner on public.fleet_samples for select to owner of the database using (true);
create policy fleet_samples_of_staff on public.fleet_samples for select to authenticated using (( SELECT app.is_staff() AS is_staff));
create policy fleet_samples_of_system on public.fleet_samples for all to service_role using (true) with check (true);
grant select on public.fleet_samples to authenticated;
grant delete, insert, select, update on public.fleet_samples to service_role;

create table public.heartbeats (
  process text not null,
  instance text not null,
  beat_at timestamp with time zone not null default now(),
  PRIMARY KEY (process, instance)
);
create policy heartbeats_of_database_owner on public.heartbeats for all to owner of the database using (true) with check (true);
create policy heartbeats_of_staff on public.heartbeats for select to authenticated using (( SELECT app.is_staff() AS is_staff));
create policy heartbeats_of_system on public.heartbeats for all to service_role using (true) with check (true);
grant select on public.heartbeats to authenticated;
grant delete, insert, select, update on public.heartbeats to service_role;

create table public.incidents (
  id bigint not null generated always as identity,
  session_id uuid,
  user_id uuid,
  server_url text,
  kind text not null,
  state text not null default 'open'::text,
  steps integer not null default 0,  -- how many steps of its ladder were tried
  detected_at timestamp with time zone not null default clock_timestamp(),
  acted_at timestamp with time zone,
  due_at timestamp with time zone not null default clock_timestamp(),  -- when the next step, or the verdict on the last one, is due
  ended_at timestamp with time zone,
  notified_at timestamp with time zone,  -- when it was posted to the alert address, or passed over by its cool-down
  CHECK (((ended_at IS NULL) = (state = ANY (ARRAY['open'::text, 'needs_phone'::text, 'needs_person'::text])))),
  CHECK (((session_id IS NULL) = (kind = 'server_down'::text))),
  CHECK ((kind = ANY (ARRAY['zombie'::text, 'dropped'::text, 'stuck'::text, 'silent'::text, 'not_scanned'::text, 'logged_out'::text, 'unacked'::text, 'server_down'::text, 'same_number'::text, 'restricted'::text]))),
  CHECK ((state = ANY (ARRAY['open'::text, 'needs_phone'::text, 'needs_person'::text, 'healed'::text, 'over'::text]))),
  FOREIGN KEY (session_id) REFERENCES whatsapp_sessions(id) ON DELETE CASCADE,
  PRIMARY KEY (id)
);
CREATE INDEX incidents_due ON public.incidents USING btree (due_at) WHERE (state = 'open'::text);
CREATE INDEX incidents_ended ON public.incidents USING btree (ended_at) WHERE (ended_at IS NOT NULL);
CREATE INDEX incidents_of_session ON public.incidents USING btree (session_id, id DESC);
CREATE INDEX incidents_told ON public.incidents USING btree (kind, server_url, notified_at) WHERE (notified_at IS NOT NULL);
CREATE INDEX incidents_untold ON public.incidents USING btree (id) WHERE (notified_at IS NULL);
CREATE UNIQUE INDEX incidents_one ON public.incidents USING btree (session_id, kind) WHERE (ended_at IS NULL);
CREATE UNIQUE INDEX incidents_one_of_server ON public.incidents USING btree (server_url, kind) WHERE ((ended_at IS NULL) AND (session_id IS NULL));
CREATE TRIGGER notify AFTER INSERT OR UPDATE OF state, steps ON public.incidents FOR EACH ROW EXECUTE FUNCTION app.notify_incident();
create policy incidents_of_database_owner on public.incidents for select to owner of the database using (true);
create policy incidents_of_owner_or_staff on public.incidents for select to authenticated using (((( SELECT auth.uid() AS uid) = user_id) OR ( SELECT app.is_staff() AS is_staff)));
create policy incidents_of_shared_numbers on public.incidents for select to authenticated using (((kind <> 'same_number'::text) OR ( SELECT app.is_staff() AS is_staff)));
create policy incidents_of_system on public.incidents for all to service_role using (true) with check (true);
grant select on public.incidents to authenticated;
grant delete, insert, select, update on public.incidents to service_role;

create table public.lanes (
  session_id uuid not null,
  available_at timestamp with time zone not null default '-infinity'::timestamp with time zone,  -- lease and pace at once: nobody may claim the lane before
  due_at timestamp with time zone,  -- when its first waiting message is due; null while none waits
  stopped_at timestamp with time zone,  -- the kill switch: nothing leaves through this lane until it is null again
  stopped_by_staff boolean not null default false,
  waiting_reason text,  -- why nothing leaves although it is due; null while things leave
  waiting_since timestamp with time zone,
  retry_at timestamp with time zone,  -- when it is tried again while it waits; infinity: once its session is up
  tries integer not null default 0,  -- how often it was tried since it waits
  ready_at timestamp with time zone generated always as (
CASE
    WHEN ((stopped_at IS NULL) AND (due_at IS NOT NULL)) THEN NULLIF(GREATEST(available_at, due_at, retry_at), 'infinity'::timestamp with time zone)
    ELSE NULL::timestamp with time zone
END) stored,  -- when the lane is free, due, not stopped and not waiting: its turn
  stopped_for text,  -- number: another phone was paired, and its owner has not said what to do
  CHECK ((stopped_for = 'number'::text)),
  CHECK ((waiting_reason = ANY (ARRAY['server'::text, 'session'::text, 'no_answer'::text, 'setup'::text, 'files'::text]))),
  FOREIGN KEY (session_id) REFERENCES whatsapp_sessions(id) ON DELETE CASCADE,
  PRIMARY KEY (session_id)
);
CREATE INDEX lanes_ready ON public.lanes USING btree (ready_at) WHERE (ready_at IS NOT NULL);
CREATE INDEX lanes_waiting ON public.lanes USING btree (waiting_since) WHERE (waiting_since IS NOT NULL);
CREATE TRIGGER create_lane BEFORE INSERT ON public.lanes FOR EACH ROW EXECUTE FUNCTION app.create_lane();
CREATE TRIGGER notify AFTER UPDATE OF stopped_at ON public.lanes FOR EACH ROW EXECUTE FUNCTION app.notify_lane();
CREATE TRIGGER notify_waiting AFTER UPDATE OF waiting_reason, retry_at ON public.lanes FOR EACH ROW WHEN (((old.waiting_reason IS DISTINCT FROM new.waiting_reason) OR ((old.retry_at IS NOT NULL) AND (new.retry_at IS NULL)))) EXECUTE FUNCTION app.notify_waiting();
CREATE TRIGGER record_waiting AFTER UPDATE OF waiting_since ON public.lanes FOR EACH ROW WHEN (((old.waiting_since IS NOT NULL) AND (new.waiting_since IS NULL))) EXECUTE FUNCTION app.record_waiting();
create policy lanes_of_database_owner on public.lanes for all to owner of the database using (true) with check (true);
create policy lanes_of_owner_or_staff on public.lanes for all to authenticated using ((EXISTS ( SELECT
   FROM whatsapp_sessions s
  WHERE (s.id = lanes.session_id)))) with check ((EXISTS ( SELECT
   FROM whatsapp_sessions s
  WHERE (s.id = lanes.session_id))));
create policy lanes_of_system on public.lanes for all to service_role using (true) with check (true);
grant insert, select, update on public.lanes to authenticated;
grant delete, insert, select, update on public.lanes to service_role;

-- one row and one file for each content of each user, however many messages carry it
create table public.media (
  user_id uuid not null,
  sha256 bytea not null,
  mimetype text not null,
  size bigint not null,
  created_at timestamp with time zone not null default now(),
  CHECK (((length(mimetype) >= 3) AND (length(mimetype) <= 200))),
  CHECK ((length(sha256) = 32)),
  CHECK ((size > 0)),
  FOREIGN KEY (user_id) REFERENCES auth.users(id) ON DELETE CASCADE,
  PRIMARY KEY (user_id, sha256)
);
CREATE INDEX media_kept_at ON public.media USING btree (created_at);
CREATE INDEX media_of_user ON public.media USING btree (user_id, created_at DESC, sha256 DESC);
CREATE TRIGGER refuse_media_deleting AFTER INSERT ON public.media FOR EACH ROW EXECUTE FUNCTION app.refuse_media_deleting();
create policy media_kept_again_by_owner on public.media for update to authenticated using ((( SELECT auth.uid() AS uid) = user_id)) with check ((( SELECT auth.uid() AS uid) = user_id));
create policy media_kept_by_owner on public.media for insert to authenticated with check ((( SELECT auth.uid() AS uid) = user_id));
create policy media_of_database_owner on public.media for all to owner of the database using (true) with check (true);
create policy media_of_owner on public.media for select to authenticated using ((( SELECT auth.uid() AS uid) = user_id));
create policy media_of_shared_templates on public.media for select to authenticated using ((EXISTS ( SELECT
   FROM (template_versions v
     JOIN templates t ON ((t.id = v.template_id)))
  WHERE ((v.user_id = media.user_id) AND (v.media_sha256 = media.sha256) AND t.shared))));
create policy media_of_system on public.media for all to service_role using (true) with check (true);
create policy media_through_break_glass on public.media for select to authenticated using ((user_id IN ( SELECT app.list_break_glass_users('chats'::text) AS list_break_glass_users)));
grant insert (mimetype, sha256, size, user_id) on public.media to authenticated;
grant select on public.media to authenticated;
grant update (created_at) on public.media to authenticated;
grant delete, insert, select, update on public.media to service_role;

-- what happened to a message later: by whom, when; the newest of each counts
create table public.message_annotations (
  session_id uuid not null,
  wpp_id text not null,
  kind text not null,
  author text not null,
  user_id uuid not null,
  value jsonb not null default '{}'::jsonb,
  occurred_at timestamp with time zone not null,
  CHECK ((kind = ANY (ARRAY['reaction'::text, 'revoke'::text, 'edit'::text, 'vote'::text, 'receipt'::text]))),
  FOREIGN KEY (session_id) REFERENCES whatsapp_sessions(id) ON DELETE CASCADE,
  PRIMARY KEY (session_id, wpp_id, kind, author)
);
CREATE INDEX message_annotations_by_key ON public.message_annotations USING btree (session_id, app.get_message_key(wpp_id));
CREATE TRIGGER notify AFTER INSERT OR UPDATE ON public.message_annotations FOR EACH ROW EXECUTE FUNCTION app.notify_message();
create policy message_annotations_of_database_owner on public.message_annotations for all to owner of the database using (true) with check (true);
create policy message_annotations_of_owner on public.message_annotations for select to authenticated using ((( SELECT auth.uid() AS uid) = user_id));
create policy message_annotations_of_system on public.message_annotations for all to service_role using (true) with check (true);
create policy message_annotations_own_reaction on public.message_annotations for insert to authenticated with check (((( SELECT auth.uid() AS uid) = user_id) AND (kind = 'reaction'::text) AND (author = 'me'::text) AND (EXISTS ( SELECT
   FROM whatsapp_sessions s
  WHERE ((s.id = message_annotations.session_id) AND (s.user_id = ( SELECT auth.uid() AS uid)))))));
create policy message_annotations_own_reaction_changed on public.message_annotations for update to authenticated using (((( SELECT auth.uid() AS uid) = user_id) AND (kind = 'reaction'::text) AND (author = 'me'::text))) with check (((( SELECT auth.uid() AS uid) = user_id) AND (kind = 'reaction'::text) AND (author = 'me'::text)));
create policy message_annotations_through_break_glass on public.message_annotations for select to authenticated using ((user_id IN ( SELECT app.list_break_glass_users('chats'::text) AS list_break_glass_users)));
grant insert, select on public.message_annotations to authenticated;
grant update (occurred_at, value) on public.message_annotations to authenticated;
grant delete, insert, select, update on public.message_annotations to service_role;

create table public.messages (
  id uuid not null default gen_random_uuid(),
  seq bigint not null generated always as identity,
  session_id uuid not null,
  user_id uuid not null,
  contact_id uuid,
  direction text not null,
  phone text not null,
  address text,
  contact_name text,
  kind text not null default 'chat'::text,
  body text not null default ''::text,  -- the text, or the caption of a file
  media_sha256 bytea,
  mimetype text,
  filename text,
  detail jsonb not null default '{}'::jsonb,  -- what a kind has beyond text and file: a place, a contact card, a poll, …
  quoted_wpp_id text,
  template_id uuid,
  template_version integer,
  schedule_id uuid,
  campaign_id uuid,
  idempotency_key text,
  request_id text,
  state text not null,
  failure text,
  wpp_id text,
  ack smallint not null default 0,
  attempts integer not null default 0,  -- how often a worker took it, which fences what each says of it
  occurred_at timestamp with time zone not null default now(),  -- when it was said: by WhatsApp's clock where that is known
  run_at timestamp with time zone not null default now(),
  claimed_at timestamp with time zone,  -- when a worker last took the message up
  sending_at timestamp with time zone,
  accepted_at timestamp with time zone,
  sent_at timestamp with time zone,
  delivered_at timestamp with time zone,
  read_at timestamp with time zone,
  ended_at timestamp with time zone,
  waiting_reason text,  -- why it waits where its lane does not
  waiting_since timestamp with time zone,  -- when it was first held up; kept until its owner decides
  asked_at timestamp with time zone,  -- since when its owner is asked: from then on it does not leave by itself
  uncertain_at timestamp with time zone,  -- when it became unknown whether the message left
  reconcile_at timestamp with time zone,
  reconciliations integer not null default 0,
  reconciled_at timestamp with time zone,  -- when an uncertain message was found in its chat
  decision text,  -- what its owner made of a doubt: it had left, it had not and was queued again, or it was let go
  decided_at timestamp with time zone,
  fetch_at timestamp with time zone,  -- when its file, which did not come along, is to be fetched; null: never
  fetches integer not null default 0,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  file_event_id bigint,  -- the event that holds the file, until it is fetched from there
  cold boolean not null default false,  -- a campaign's message to somebody who does not know the sender
  CHECK ((decision = ANY (ARRAY['left'::text, 'again'::text, 'dropped'::text]))),
  CHECK ((direction = ANY (ARRAY['out'::text, 'in'::text]))),
  CHECK ((jsonb_typeof(detail) = 'object'::text)),
  CHECK ((state = ANY (ARRAY['queued'::text, 'sending'::text, 'accepted'::text, 'sent'::text, 'delivered'::text, 'read'::text, 'failed'::text, 'uncertain'::text, 'cancelled'::text, 'received'::text]))),
  CHECK ((waiting_reason = 'numbers'::text)),
  FOREIGN KEY (contact_id) REFERENCES contacts(id) ON DELETE SET NULL,
  FOREIGN KEY (session_id) REFERENCES whatsapp_sessions(id) ON DELETE CASCADE,
  FOREIGN KEY (user_id, media_sha256) REFERENCES media(user_id, sha256) ON DELETE SET NULL (media_sha256),
  PRIMARY KEY (id)
);
CREATE INDEX messages_asked ON public.messages USING btree (user_id, seq) WHERE ((state = 'queued'::text) AND (asked_at IS NOT NULL));
CREATE INDEX messages_by_key ON public.messages USING btree (session_id, app.get_message_key(wpp_id)) WHERE (wpp_id IS NOT NULL);
CREATE INDEX messages_doubted ON public.messages USING btree (uncertain_at) WHERE (state = 'uncertain'::text);
CREATE INDEX messages_in_flight ON public.messages USING btree (session_id) WHERE (state = 'sending'::text);
CREATE INDEX messages_in_time ON public.messages USING btree (user_id, run_at);
CREATE INDEX messages_of_campaign ON public.messages USING btree (campaign_id, state) WHERE (campaign_id IS NOT NULL);
CREATE INDEX messages_of_chat ON public.messages USING btree (user_id, phone, run_at, seq);
CREATE INDEX messages_of_contact ON public.messages USING btree (contact_id, occurred_at DESC, seq DESC) WHERE (contact_id IS NOT NULL);
CREATE INDEX messages_of_session ON public.messages USING btree (session_id, created_at DESC);
CREATE INDEX messages_of_user ON public.messages USING btree (user_id, seq DESC);
CREATE INDEX messages_to_fetch ON public.messages USING btree (fetch_at) WHERE (fetch_at IS NOT NULL);
CREATE INDEX messages_unacked ON public.messages USING btree (accepted_at) WHERE (state = 'accepted'::text);
CREATE INDEX messages_uncertain ON public.messages USING btree (user_id, seq) WHERE (state = 'uncertain'::text);
CREATE INDEX messages_unsettled ON public.messages USING btree (reconcile_at) WHERE ((state = 'uncertain'::text) AND (reconcile_at IS NOT NULL));
CREATE INDEX messages_waited ON public.messages USING btree (waiting_since) WHERE ((state = 'queued'::text) AND (asked_at IS NULL) AND (waiting_since IS NOT NULL));
CREATE INDEX messages_waiting ON public.messages USING btree (session_id, run_at, seq) WHERE ((state = 'queued'::text) AND (asked_at IS NULL));
CREATE INDEX messages_with_media ON public.messages USING btree (user_id, media_sha256) WHERE (media_sha256 IS NOT NULL);
CREATE INDEX messages_words ON public.messages USING gin (user_id, app.get_search_words(body)) WHERE (body <> ''::text);
CREATE INDEX messages_written ON public.messages USING btree (user_id, phone, created_at) WHERE ((direction = 'in'::text) AND app.is_written(kind));
CREATE UNIQUE INDEX messages_idempotency ON public.messages USING btree (user_id, idempotency_key) WHERE (idempotency_key IS NOT NULL);
CREATE UNIQUE INDEX messages_of_name ON public.messages USING btree (contact_id, app.get_message_key(wpp_id)) WHERE ((wpp_id IS NOT NULL) AND (contact_id IS NOT NULL));
CREATE TRIGGER enqueue_readable AFTER UPDATE OF kind ON public.messages FOR EACH ROW WHEN (((new.direction = 'in'::text) AND (old.kind = 'ciphertext'::text) AND (new.kind <> 'ciphertext'::text))) EXECUTE FUNCTION app.enqueue_message_webhook();
CREATE TRIGGER enqueue_received AFTER INSERT ON public.messages FOR EACH ROW WHEN (((new.direction = 'in'::text) AND (new.kind <> ALL (ARRAY['ciphertext'::text, 'revoked'::text])))) EXECUTE FUNCTION app.enqueue_message_webhook();
CREATE TRIGGER enqueue_state AFTER UPDATE OF state ON public.messages FOR EACH ROW WHEN (((new.direction = 'out'::text) AND (new.state IS DISTINCT FROM old.state) AND (new.state = ANY (ARRAY['sent'::text, 'delivered'::text, 'read'::text, 'failed'::text, 'uncertain'::text])))) EXECUTE FUNCTION app.enqueue_message_webhook();
CREATE TRIGGER file_message BEFORE INSERT OR UPDATE OF state ON public.messages FOR EACH ROW WHEN (((new.direction = 'out'::text) AND (new.state = ANY (ARRAY['queued'::text, 'sending'::text])))) EXECUTE FUNCTION app.file_message();
CREATE TRIGGER mark_deleted AFTER DELETE ON public.messages REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION app.mark_new_messages();
CREATE TRIGGER mark_moved AFTER UPDATE OF state, failure, run_at, sending_at, delivered_at, read_at, phone, template_id, schedule_id, campaign_id ON public.messages FOR EACH ROW WHEN (((((((((((new.state IS DISTINCT FROM old.state) OR (new.failure IS DISTINCT FROM old.failure)) OR (new.run_at IS DISTINCT FROM old.run_at)) OR (new.sending_at IS DISTINCT FROM old.sending_at)) OR (new.delivered_at IS DISTINCT FROM old.delivered_at)) OR (new.read_at IS DISTINCT FROM old.read_at)) OR (new.phone IS DISTINCT FROM old.phone)) OR (new.template_id IS DISTINCT FROM old.template_id)) OR (new.schedule_id IS DISTINCT FROM old.schedule_id)) OR (new.campaign_id IS DISTINCT FROM old.campaign_id))) EXECUTE FUNCTION app.mark_moved_message();
CREATE TRIGGER mark_new AFTER INSERT ON public.messages REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION app.mark_new_messages();
CREATE TRIGGER mark_readable AFTER UPDATE OF kind ON public.messages FOR EACH ROW WHEN (((new.direction = 'in'::text) AND (new.kind <> old.kind))) EXECUTE FUNCTION app.mark_moved_message();
CREATE TRIGGER notify AFTER INSERT OR UPDATE OF state ON public.messages FOR EACH ROW WHEN ((COALESCE(current_setting('app.notifies_at_commit'::text, true), ''::text) <> 'on'::text)) EXECUTE FUNCTION app.notify_message();
CREATE TRIGGER record_cold_outcome AFTER UPDATE OF state ON public.messages FOR EACH ROW WHEN ((new.cold AND (new.state <> old.state) AND (((new.state = 'failed'::text) AND (new.failure = ANY (ARRAY['rejected'::text, 'restricted'::text]))) OR ((new.state = 'sent'::text) AND (old.state = 'failed'::text)) OR ((new.state = ANY (ARRAY['delivered'::text, 'read'::text])) AND (old.state <> ALL (ARRAY['delivered'::text, 'read'::text])))))) EXECUTE FUNCTION app.record_cold_outcome();
create policy messages_asked_for_by_owner on public.messages for update to authenticated using ((( SELECT auth.uid() AS uid) = user_id)) with check ((( SELECT auth.uid() AS uid) = user_id));
create policy messages_decided_by_owner on public.messages for update to authenticated using (((( SELECT auth.uid() AS uid) = user_id) AND (direction = 'out'::text) AND (state = ANY (ARRAY['queued'::text, 'uncertain'::text])))) with check (((( SELECT auth.uid() AS uid) = user_id) AND (direction = 'out'::text) AND ((state = 'cancelled'::text) OR ((state = ANY (ARRAY['sent'::text, 'failed'::text])) AND (decision IS NOT NULL)) OR ((state = 'queued'::text) AND (asked_at IS NULL)))));
create policy messages_never_again on public.messages for update to authenticated using (true) with check (((state <> ALL (ARRAY['queued'::text, 'sending'::text])) OR (uncertain_at IS NULL)));
create policy messages_of_database_owner on public.messages for all to owner of the database using (true) with check (true);
create policy messages_of_owner on public.messages for select to authenticated using ((( SELECT auth.uid() AS uid) = user_id));
create policy messages_of_system on public.messages for all to service_role using (true) with check (true);
create policy messages_queued_by_owner on public.messages for insert to authenticated with check (((( SELECT auth.uid() AS uid) = user_id) AND (direction = 'out'::text) AND (state = 'queued'::text) AND (EXISTS ( SELECT
   FROM whatsapp_sessions s
  WHERE ((s.id = messages.session_id) AND (s.user_id = ( SELECT auth.uid() AS uid)))))));
create policy messages_through_break_glass on public.messages for select to authenticated using ((user_id IN ( SELECT app.list_break_glass_users('chats'::text) AS list_break_glass_users)));
grant insert (body, campaign_id, cold, contact_name, detail, direction, filename, idempotency_key, kind, media_sha256, mimetype, phone, quoted_wpp_id, request_id, run_at, schedule_id, session_id, state, template_id, template_version, user_id) on public.messages to authenticated;
grant select on public.messages to authenticated;
grant update (asked_at, decided_at, decision, ended_at, failure, fetch_at, reconcile_at, run_at, sent_at, state, updated_at, waiting_reason, waiting_since) on public.messages to authenticated;
grant delete, insert, select, update on public.messages to service_role;

create table public.number_checks (
  session_id uuid not null,
  user_id uuid not null,
  phone text not null,
  on_whatsapp boolean,  -- null: asked, and no answer yet
  address text,  -- as WhatsApp itself writes it: Brazil's ninth digit
  asked_at timestamp with time zone not null default now(),  -- written before the question: the hour's budget is counted by it
  checked_at timestamp with time zone,
  confirmed_at timestamp with time zone,  -- the newest acknowledgement that came from this address
  fresh_until timestamp with time zone,  -- until when the answer is believed
  CHECK ((phone ~ '^[0-9]{5,20}$'::text)),
  FOREIGN KEY (session_id) REFERENCES whatsapp_sessions(id) ON DELETE CASCADE,
  PRIMARY KEY (session_id, phone)
);
CREATE INDEX number_checks_asked ON public.number_checks USING btree (session_id, asked_at);
CREATE INDEX number_checks_unanswered ON public.number_checks USING btree (asked_at) WHERE ((checked_at IS NULL) OR (checked_at < asked_at));
create policy number_checks_of_database_owner on public.number_checks for all to owner of the database using (true) with check (true);
create policy number_checks_of_owner on public.number_checks for all to authenticated using ((( SELECT auth.uid() AS uid) = user_id)) with check (((( SELECT auth.uid() AS uid) = user_id) AND (EXISTS ( SELECT
   FROM whatsapp_sessions s
  WHERE ((s.id = number_checks.session_id) AND (s.user_id = ( SELECT auth.uid() AS uid)))))));
create policy number_checks_of_system on public.number_checks for all to service_role using (true) with check (true);
grant insert (asked_at, phone, session_id, user_id) on public.number_checks to authenticated;
grant select on public.number_checks to authenticated;
grant update (address, asked_at, checked_at, fresh_until, on_whatsapp) on public.number_checks to authenticated;
grant delete, insert, select, update on public.number_checks to service_role;

create table public.one_time_links (
  token_hash bytea not null,
  user_id uuid not null,
  purpose text not null,
  created_by uuid not null,
  created_at timestamp with time zone not null default now(),
  expires_at timestamp with time zone not null,
  CHECK ((purpose = ANY (ARRAY['invite'::text, 'reset'::text]))),
  FOREIGN KEY (user_id) REFERENCES auth.users(id) ON DELETE CASCADE,
  PRIMARY KEY (token_hash)
);
CREATE INDEX one_time_links_user ON public.one_time_links USING btree (user_id);
create policy one_time_links_of_database_owner on public.one_time_links for all to owner of the database using (true) with check (true);

-- who asked not to be written to again, and who took that back; outlives sessions, contacts and messages
create table public.opt_outs (
  user_id uuid not null,
  phone text not null,  -- digits, or the …@lid of somebody without a number
  trigger_word text,  -- what they wrote; null where the owner noted it for them
  created_at timestamp with time zone not null default now(),
  address_key text not null generated always as (app.get_address_key(phone)) stored,  -- the line or the person, however it is spelt
  said_at timestamp with time zone default now(),  -- the newest word for silence, by WhatsApp's clock; null: there was none, only one that takes it back
  ended_at timestamp with time zone,  -- since when it has no effect; null: in effect
  ended_word text,  -- what they wrote to take it back
  ended_by uuid,  -- the person who undid it, for ended_reason
  ended_reason text,
  copied boolean not null default false,  -- said under another address of the same contact: reports count a word once
  undone_until timestamp with time zone generated always as (
CASE
    WHEN (ended_by IS NULL) THEN ended_at
    ELSE said_at
END) stored,  -- words for silence until then have no effect: a contact takes back what they said before, a person what they knew of
  CHECK (((said_at IS NOT NULL) OR (ended_at IS NOT NULL))),
  FOREIGN KEY (user_id) REFERENCES auth.users(id) ON DELETE CASCADE,
  PRIMARY KEY (user_id, address_key)
);
CREATE INDEX opt_outs_in_effect ON public.opt_outs USING btree (user_id, said_at DESC, address_key) WHERE (ended_at IS NULL);
CREATE INDEX opt_outs_in_time ON public.opt_outs USING btree (user_id, created_at);
CREATE TRIGGER mark_late_opt_out AFTER UPDATE ON public.opt_outs REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION app.mark_opt_outs();
CREATE TRIGGER mark_opt_in AFTER DELETE ON public.opt_outs REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION app.mark_opt_outs();
CREATE TRIGGER mark_opt_out AFTER INSERT ON public.opt_outs REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION app.mark_opt_outs();
CREATE TRIGGER withhold_queued AFTER INSERT OR UPDATE OF said_at, ended_at ON public.opt_outs FOR EACH ROW WHEN ((new.ended_at IS NULL)) EXECUTE FUNCTION app.withhold_queued();
create policy opt_outs_of_database_owner on public.opt_outs for all to owner of the database using (true) with check (true);
create policy opt_outs_of_owner on public.opt_outs for select to authenticated using ((( SELECT auth.uid() AS uid) = user_id));
create policy opt_outs_of_system on public.opt_outs for all to service_role using (true) with check (true);
create policy opt_outs_through_break_glass on public.opt_outs for select to authenticated using ((user_id IN ( SELECT app.list_break_glass_users('chats'::text) AS list_break_glass_users)));
grant select on public.opt_outs to authenticated;
grant delete, insert, select, update on public.opt_outs to service_role;

-- the chats that are read back for an outage
create table public.outage_chats (
  outage_id uuid not null,
  address text not null,
  user_id uuid not null,
  state text not null default 'waiting'::text,
  failure text,  -- code of the newest failure, or too_deep, too_many
  recovered integer not null default 0,
  CHECK ((state = ANY (ARRAY['waiting'::text, 'done'::text, 'failed'::text]))),
  FOREIGN KEY (outage_id) REFERENCES outages(id) ON DELETE CASCADE,
  PRIMARY KEY (outage_id, address)
);
CREATE INDEX outage_chats_of_user ON public.outage_chats USING btree (user_id);
create policy outage_chats_asked_by_owner on public.outage_chats for insert to authenticated with check (((( SELECT auth.uid() AS uid) = user_id) AND (EXISTS ( SELECT
   FROM outages g
  WHERE ((g.id = outage_chats.outage_id) AND (g.user_id = ( SELECT auth.uid() AS uid)) AND (g.reason = 'asked'::text))))));
create policy outage_chats_of_owner on public.outage_chats for select to authenticated using ((( SELECT auth.uid() AS uid) = user_id));
create policy outage_chats_of_system on public.outage_chats for all to service_role using (true) with check (true);
grant insert (address, outage_id, user_id) on public.outage_chats to authenticated;
grant select on public.outage_chats to authenticated;
grant delete, insert, select, update on public.outage_chats to service_role;

-- when somebody was away, so that messages may have been missed
create table public.outages (
  id uuid not null default gen_random_uuid(),
  session_id uuid not null,
  user_id uuid not null,
  reason text not null,
  from_at timestamp with time zone not null,
  to_at timestamp with time zone,  -- null while it lasts
  state text not null default 'waiting'::text,
  next_at timestamp with time zone not null default clock_timestamp(),  -- when it is read; while it is being read, the end of the lease
  attempts integer not null default 0,
  failure text,
  listed_at timestamp with time zone,  -- since when outage_chats says which chats are to be read
  chats integer not null default 0,
  recovered integer not null default 0,
  failed integer not null default 0,  -- chats that could not be read, which outage_chats names to their owner
  created_at timestamp with time zone not null default clock_timestamp(),
  done_at timestamp with time zone,
  CHECK (((to_at IS NOT NULL) OR (state = 'open'::text))),
  CHECK ((reason = ANY (ARRAY['receiver'::text, 'database'::text, 'session'::text, 'server'::text, 'asked'::text]))),
  CHECK ((state = ANY (ARRAY['open'::text, 'waiting'::text, 'reading'::text, 'done'::text, 'failed'::text]))),
  FOREIGN KEY (session_id) REFERENCES whatsapp_sessions(id) ON DELETE CASCADE,
  PRIMARY KEY (id)
);
CREATE INDEX outages_due ON public.outages USING btree (next_at) WHERE (state = ANY (ARRAY['waiting'::text, 'reading'::text]));
CREATE INDEX outages_newest ON public.outages USING btree (created_at DESC);
CREATE INDEX outages_of_session ON public.outages USING btree (session_id);
CREATE INDEX outages_of_user ON public.outages USING btree (user_id, created_at DESC);
CREATE UNIQUE INDEX outages_open ON public.outages USING btree (session_id) WHERE (state = 'open'::text);
CREATE UNIQUE INDEX outages_waiting ON public.outages USING btree (session_id) WHERE ((state = 'waiting'::text) AND (attempts = 0) AND (reason <> 'asked'::text));
CREATE TRIGGER notify AFTER INSERT OR UPDATE OF state, recovered ON public.outages FOR EACH ROW EXECUTE FUNCTION app.notify_outage();
create policy outages_asked_by_owner on public.outages for insert to authenticated with check (((( SELECT auth.uid() AS uid) = user_id) AND (reason = 'asked'::text) AND (state = 'waiting'::text) AND (EXISTS ( SELECT
   FROM whatsapp_sessions s
  WHERE ((s.id = outages.session_id) AND (s.user_id = ( SELECT auth.uid() AS uid)))))));
create policy outages_of_database_owner on public.outages for all to owner of the database using (true) with check (true);
create policy outages_of_owner_or_staff on public.outages for select to authenticated using (((( SELECT auth.uid() AS uid) = user_id) OR ( SELECT app.is_staff() AS is_staff)));
create policy outages_of_system on public.outages for all to service_role using (true) with check (true);
grant insert (chats, from_at, listed_at, reason, session_id, to_at, user_id) on public.outages to authenticated;
grant select on public.outages to authenticated;
grant delete, insert, select, update on public.outages to service_role;

create table public.pending_acks (
  session_id uuid not null,
  wpp_id text not null,
  ack smallint not null,
  received_at timestamp with time zone not null default now(),
  FOREIGN KEY (session_id) REFERENCES whatsapp_sessions(id) ON DELETE CASCADE,
  PRIMARY KEY (session_id, wpp_id)
);
CREATE INDEX pending_acks_at ON public.pending_acks USING btree (received_at);
CREATE INDEX pending_acks_of_message ON public.pending_acks USING btree (session_id, app.get_message_key(wpp_id));
create policy pending_acks_of_database_owner on public.pending_acks for all to owner of the database using (true) with check (true);
create policy pending_acks_of_system on public.pending_acks for all to service_role using (true) with check (true);
grant delete, insert, select, update on public.pending_acks to service_role;

-- what each process counts, for whoever scrapes; no row of it names anybody
create table public.process_metrics (
  process text not null,
  instance text not null,
  samples jsonb not null,
  sampled_at timestamp with time zone not null default clock_timestamp(),
  PRIMARY KEY (process, instance)
);
create policy process_metrics_of_database_owner on public.process_metrics for all to owner of the database using (true) with check (true);
create policy process_metrics_of_system on public.process_metrics for all to service_role using (true) with check (true);
grant delete, insert, select, update on public.process_metrics to service_role;

-- questions about a number whose answer WhatsApp must give; kept for days
create table public.proof_questions (
  id bigint not null generated always as identity,
  session_id uuid not null,
  server_url text not null,
  phone text not null,  -- about whom: often another session's number, so nobody but the worker reads it
  reason text not null,
  certain boolean not null,  -- false: the number may be a contact's, for which the browser answers by itself
  asked_at timestamp with time zone not null default clock_timestamp(),
  answered_at timestamp with time zone,
  CHECK ((reason = ANY (ARRAY['quiet'::text, 'suspect'::text, 'neighbour'::text, 'again'::text]))),
  FOREIGN KEY (session_id) REFERENCES whatsapp_sessions(id) ON DELETE CASCADE,
  PRIMARY KEY (id)
);
CREATE INDEX proof_questions_asked ON public.proof_questions USING btree (asked_at);
CREATE INDEX proof_questions_of_session ON public.proof_questions USING btree (session_id, asked_at);
CREATE INDEX proof_questions_quiet ON public.proof_questions USING btree (server_url, asked_at) WHERE (reason = 'quiet'::text);
create policy proof_questions_of_system on public.proof_questions for all to service_role using (true) with check (true);
grant delete, insert, select, update on public.proof_questions to service_role;

create table public.rate_limits (
  key bytea not null,  -- sha256: who was counted cannot be read from here
  hits integer not null,
  expires_at timestamp with time zone not null,
  PRIMARY KEY (key)
);
CREATE INDEX rate_limits_expiry ON public.rate_limits USING btree (expires_at);
create policy rate_limits_of_database_owner on public.rate_limits for all to owner of the database using (true) with check (true);
create policy rate_limits_of_system on public.rate_limits for all to service_role using (true) with check (true);
grant delete, select on public.rate_limits to service_role;

-- what the messages come to, by when they were to leave; made from them alone
create table public.report_buckets (
  span text not null,
  user_id uuid,  -- null: everybody
  starts_at timestamp with time zone not null,
  direction text not null,
  template_id uuid,
  campaign_id uuid,
  failure text,
  total integer not null,
  waiting integer not null,
  sent integer not null,  -- those that reached delivered and read included
  delivered integer not null,
  read integer not null,
  failed integer not null,
  uncertain integer not null,
  opt_outs integer not null,
  delivery_count integer not null,
  delivery_ms bigint not null,
  reading_count integer not null,
  reading_ms bigint not null,
  response_count integer not null,
  response_ms bigint not null,
  CHECK ((direction = ANY (ARRAY['out'::text, 'in'::text]))),
  CHECK ((span = ANY (ARRAY['quarter'::text, 'day'::text]))),
  FOREIGN KEY (user_id) REFERENCES auth.users(id) ON DELETE CASCADE,
  UNIQUE NULLS NOT DISTINCT (span, user_id, starts_at, direction, template_id, campaign_id, failure)
);
CREATE INDEX report_buckets_in_time ON public.report_buckets USING btree (span, starts_at);
create policy report_buckets_of_owner_or_staff on public.report_buckets for select to authenticated using (((( SELECT auth.uid() AS uid) = user_id) OR ( SELECT app.is_staff() AS is_staff)));
create policy report_buckets_of_system on public.report_buckets for all to service_role using (true) with check (true);
grant select on public.report_buckets to authenticated;
grant delete, insert, select, update on public.report_buckets to service_role;

-- quarters whose figures are no longer those of the messages, as often as noted
create table public.report_dirty_buckets (
  id bigint not null generated always as identity,
  user_id uuid not null,
  quarter timestamp with time zone not null,
  phone text,  -- the chat that changed: an answer after it may take another time now
  created_at timestamp with time zone not null default clock_timestamp(),
  PRIMARY KEY (id)
);
create policy report_dirty_buckets_of_database_owner on public.report_dirty_buckets for all to owner of the database using (true) with check (true);
create policy report_dirty_buckets_of_system on public.report_dirty_buckets for all to service_role using (true) with check (true);
grant delete, insert, select, update on public.report_dirty_buckets to service_role;

create table public.report_times (
  user_id uuid,
  starts_at timestamp with time zone not null,
  measure text not null,
  band smallint not null,  -- a time of at most 2 ^ (band / 2) seconds, and longer than the band below it: two bands each time it doubles
  messages integer not null,
  CHECK ((measure = ANY (ARRAY['delivery'::text, 'reading'::text, 'response'::text]))),
  FOREIGN KEY (user_id) REFERENCES auth.users(id) ON DELETE CASCADE,
  UNIQUE NULLS NOT DISTINCT (user_id, starts_at, measure, band)
);
CREATE INDEX report_times_in_time ON public.report_times USING btree (starts_at);
create policy report_times_of_owner_or_staff on public.report_times for select to authenticated using (((( SELECT auth.uid() AS uid) = user_id) OR ( SELECT app.is_staff() AS is_staff)));
create policy report_times_of_system on public.report_times for all to service_role using (true) with check (true);
grant select on public.report_times to authenticated;
grant delete, insert, select, update on public.report_times to service_role;

create table public.rolling_restart_items (
  rolling_restart_id bigint not null,
  session_id uuid not null,
  user_id uuid not null,
  server_url text not null,
  state text not null default 'waiting'::text,
  started_at timestamp with time zone,
  CHECK ((state = ANY (ARRAY['waiting'::text, 'under_way'::text, 'done'::text, 'failed'::text, 'left_out'::text]))),
  FOREIGN KEY (rolling_restart_id) REFERENCES rolling_restarts(id) ON DELETE CASCADE,
  FOREIGN KEY (session_id) REFERENCES whatsapp_sessions(id) ON DELETE CASCADE,
  PRIMARY KEY (rolling_restart_id, session_id)
);
CREATE INDEX rolling_restart_items_open ON public.rolling_restart_items USING btree (rolling_restart_id, server_url) WHERE (state = ANY (ARRAY['waiting'::text, 'under_way'::text]));
CREATE TRIGGER notify AFTER UPDATE ON public.rolling_restart_items FOR EACH ROW EXECUTE FUNCTION app.notify_rolling_restart();
create policy rolling_restart_items_by_staff on public.rolling_restart_items for insert to authenticated with check ((( SELECT app.is_staff() AS is_staff) AND (state = 'waiting'::text)));
create policy rolling_restart_items_of_database_owner on public.rolling_restart_items for select to owner of the database using (true);
create policy rolling_restart_items_of_staff on public.rolling_restart_items for select to authenticated using (( SELECT app.is_staff() AS is_staff));
create policy rolling_restart_items_of_system on public.rolling_restart_items for all to service_role using (true) with check (true);
grant insert (rolling_restart_id, server_url, session_id, user_id) on public.rolling_restart_items to authenticated;
grant select on public.rolling_restart_items to authenticated;
grant delete, insert, select, update on public.rolling_restart_items to service_role;

create table public.rolling_restarts (
  id bigint not null generated always as identity,
  actor_id uuid not null,
  server_url text,  -- whose sessions; null: all servers
  paused boolean not null default false,
  cancelled boolean not null default false,
  created_at timestamp with time zone not null default clock_timestamp(),
  ended_at timestamp with time zone,
  PRIMARY KEY (id)
);
CREATE UNIQUE INDEX rolling_restarts_one ON public.rolling_restarts USING btree ((true)) WHERE (ended_at IS NULL);
CREATE TRIGGER notify AFTER INSERT OR UPDATE ON public.rolling_restarts FOR EACH ROW EXECUTE FUNCTION app.notify_rolling_restart();
create policy rolling_restarts_by_staff on public.rolling_restarts for insert to authenticated with check ((( SELECT app.is_staff() AS is_staff) AND (( SELECT auth.uid() AS uid) = actor_id)));
create policy rolling_restarts_held_by_staff on public.rolling_restarts for update to authenticated using ((( SELECT app.is_staff() AS is_staff) AND (ended_at IS NULL))) with check (( SELECT app.is_staff() AS is_staff));
create policy rolling_restarts_of_database_owner on public.rolling_restarts for select to owner of the database using (true);
create policy rolling_restarts_of_staff on public.rolling_restarts for select to authenticated using (( SELECT app.is_staff() AS is_staff));
create policy rolling_restarts_of_system on public.rolling_restarts for all to service_role using (true) with check (true);
grant insert (actor_id, server_url) on public.rolling_restarts to authenticated;
grant select on public.rolling_restarts to authenticated;
grant update (cancelled, ended_at, paused) on public.rolling_restarts to authenticated;
grant delete, insert, select, update on public.rolling_restarts to service_role;

-- one row an occurrence that was decided: what makes it happen once
create table public.schedule_runs (
  schedule_id uuid not null,
  local_time timestamp without time zone not null,
  user_id uuid not null,
  due_at timestamp with time zone not null,
  state text not null,
  reason text,
  message_ids uuid[] not null default '{}'::uuid[],
  left_out integer not null default 0,  -- recipients to whom nothing went: they asked for silence
  decided_at timestamp with time zone not null default now(),
  CHECK ((state = ANY (ARRAY['sent'::text, 'missed'::text, 'skipped'::text]))),
  FOREIGN KEY (schedule_id, user_id) REFERENCES schedules(id, user_id) ON DELETE CASCADE,
  PRIMARY KEY (schedule_id, local_time)
);
CREATE INDEX schedule_runs_of_user ON public.schedule_runs USING btree (user_id, due_at DESC);
CREATE TRIGGER notify AFTER INSERT OR DELETE ON public.schedule_runs FOR EACH ROW EXECUTE FUNCTION app.notify_schedule_run();
create policy schedule_runs_of_owner on public.schedule_runs for select to authenticated using ((( SELECT auth.uid() AS uid) = user_id));
create policy schedule_runs_of_system on public.schedule_runs for all to service_role using (true) with check (true);
create policy schedule_runs_skipped_by_owner on public.schedule_runs for insert to authenticated with check (((( SELECT auth.uid() AS uid) = user_id) AND (state = 'skipped'::text)));
create policy schedule_runs_unskipped_by_owner on public.schedule_runs for delete to authenticated using (((( SELECT auth.uid() AS uid) = user_id) AND (state = 'skipped'::text) AND (due_at > now())));
grant delete, select on public.schedule_runs to authenticated;
grant insert (due_at, local_time, schedule_id, state, user_id) on public.schedule_runs to authenticated;
grant delete, insert, select, update on public.schedule_runs to service_role;

-- what is sent at a local time, once or again and again
create table public.schedules (
  id uuid not null default gen_random_uuid(),
  user_id uuid not null,
  name text not null,
  time_zone text not null,
  first_local_time timestamp without time zone not null,  -- on the clock of time_zone: daylight saving moves the moment
  rule text,  -- an iCalendar RRULE without its name; null: once
  kind text not null default 'chat'::text,
  body text not null default ''::text,
  media_sha256 bytea,
  filename text,
  detail jsonb not null default '{}'::jsonb,
  template_id uuid,
  template_version integer,
  recipients jsonb not null,  -- phone, name and values of each
  next_local_time timestamp without time zone,
  next_at timestamp with time zone,
  next_check_at timestamp with time zone,  -- when the worker looks next; null while paused and once ended
  paused_at timestamp with time zone,
  ended_at timestamp with time zone,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  CHECK (((length(name) >= 1) AND (length(name) <= 80))),
  CHECK (((length(time_zone) >= 1) AND (length(time_zone) <= 60))),
  CHECK (((next_local_time IS NULL) = (next_at IS NULL))),
  CHECK (((template_id IS NULL) = (template_version IS NULL))),
  CHECK ((jsonb_typeof(detail) = 'object'::text)),
  CHECK ((jsonb_typeof(recipients) = 'array'::text)),
  CHECK ((length(rule) <= 200)),
  FOREIGN KEY (user_id) REFERENCES auth.users(id) ON DELETE CASCADE,
  FOREIGN KEY (user_id, media_sha256) REFERENCES media(user_id, sha256),
  PRIMARY KEY (id),
  UNIQUE (id, user_id)
);
CREATE INDEX schedules_due ON public.schedules USING btree (next_check_at) WHERE (next_check_at IS NOT NULL);
CREATE INDEX schedules_media ON public.schedules USING btree (user_id, media_sha256) WHERE (media_sha256 IS NOT NULL);
CREATE INDEX schedules_of_user ON public.schedules USING btree (user_id, next_at, id);
CREATE TRIGGER notify AFTER INSERT OR UPDATE OF updated_at ON public.schedules FOR EACH ROW EXECUTE FUNCTION app.notify_schedule();
create policy schedules_changed_by_owner on public.schedules for update to authenticated using ((( SELECT auth.uid() AS uid) = user_id)) with check ((( SELECT auth.uid() AS uid) = user_id));
create policy schedules_made_by_owner on public.schedules for insert to authenticated with check ((( SELECT auth.uid() AS uid) = user_id));
create policy schedules_of_database_owner on public.schedules for select to owner of the database using (true);
create policy schedules_of_owner on public.schedules for select to authenticated using ((( SELECT auth.uid() AS uid) = user_id));
create policy schedules_of_system on public.schedules for all to service_role using (true) with check (true);
grant insert (body, detail, filename, first_local_time, id, kind, media_sha256, name, next_at, next_check_at, next_local_time, recipients, rule, template_id, template_version, time_zone, user_id) on public.schedules to authenticated;
grant select on public.schedules to authenticated;
grant update (body, detail, ended_at, filename, first_local_time, kind, media_sha256, name, next_at, next_check_at, next_local_time, paused_at, recipients, rule, template_id, template_version, time_zone, updated_at) on public.schedules to authenticated;
grant delete, insert, select, update on public.schedules to service_role;

-- never holds a secret, not even a wrong one
create table public.security_events (
  id bigint not null generated always as identity,
  kind text not null,
  subject text,
  actor_id uuid,
  ip text,
  detail jsonb not null default '{}'::jsonb,
  request_id text,
  occurred_at timestamp with time zone not null default clock_timestamp(),
  PRIMARY KEY (id)
);
CREATE INDEX security_events_actor ON public.security_events USING btree (actor_id, occurred_at DESC, id DESC);
CREATE INDEX security_events_at ON public.security_events USING btree (occurred_at DESC, id DESC);
CREATE INDEX security_events_kind ON public.security_events USING btree (kind, occurred_at DESC, id DESC);
CREATE INDEX security_events_refused ON public.security_events USING btree (subject, occurred_at) WHERE (kind = 'webhook_refused'::text);
CREATE INDEX security_events_subject ON public.security_events USING btree (subject, occurred_at DESC, id DESC);
CREATE UNIQUE INDEX security_events_once ON public.security_events USING btree (kind, actor_id, subject, date_trunc('minute'::text, (occurred_at AT TIME ZONE 'UTC'::text))) WHERE (kind = ANY (ARRAY['page_refused'::text, 'cross_tenant'::text]));
CREATE TRIGGER append_only BEFORE UPDATE OR TRUNCATE ON public.security_events FOR EACH STATEMENT EXECUTE FUNCTION app.refuse_change();
CREATE TRIGGER too_young_to_delete BEFORE DELETE ON public.security_events FOR EACH ROW WHEN ((old.occurred_at > (now() - '30 days'::interval))) EXECUTE FUNCTION app.refuse_change();
create policy security_events_by_actor on public.security_events for insert to authenticated with check ((( SELECT auth.uid() AS uid) = actor_id));
create policy security_events_of_database_owner on public.security_events for all to owner of the database using (true) with check (true);
create policy security_events_of_staff on public.security_events for select to authenticated using (( SELECT app.is_staff() AS is_staff));
create policy security_events_of_system on public.security_events for all to service_role using (true) with check (true);
grant insert (actor_id, detail, ip, kind, request_id, subject) on public.security_events to authenticated;
grant select on public.security_events to authenticated;
grant insert (actor_id, detail, ip, kind, request_id, subject) on public.security_events to service_role;
grant select on public.security_events to service_role;

create table public.server_checks (
  id bigint not null generated always as identity,
  url text not null,
  version text,  -- null: the server told none
  steps smallint not null,
  done smallint not null default 0,  -- how many of its steps are known
  facts jsonb not null default '[]'::jsonb,  -- name, outcome, expected, answered of each fact: types and known words
  error text,  -- code of what kept it from being looked at
  started_at timestamp with time zone not null default now(),
  finished_at timestamp with time zone,  -- null: it runs, or was cut off
  CHECK ((done >= 0)),
  CHECK ((steps > 0)),
  FOREIGN KEY (url) REFERENCES wpp_servers(url) ON DELETE CASCADE,
  PRIMARY KEY (id)
);
CREATE UNIQUE INDEX server_checks_of_version ON public.server_checks USING btree (url, COALESCE(version, ''::text)) WHERE (finished_at IS NOT NULL);
CREATE UNIQUE INDEX server_checks_running ON public.server_checks USING btree (url) WHERE (finished_at IS NULL);
create policy server_checks_by_admin on public.server_checks for all to authenticated using (( SELECT app.is_admin() AS is_admin)) with check (( SELECT app.is_admin() AS is_admin));
create policy server_checks_of_staff on public.server_checks for select to authenticated using (( SELECT app.is_staff() AS is_staff));
create policy server_checks_of_system on public.server_checks for all to service_role using (true) with check (true);
grant delete, insert, select, update on public.server_checks to authenticated;
grant delete, insert, select, update on public.server_checks to service_role;

create table public.session_hours (
  session text not null,
  hour timestamp with time zone not null,
  events integer not null,
  last_at timestamp with time zone not null,
  PRIMARY KEY (session, hour)
);
CREATE INDEX session_hours_in_time ON public.session_hours USING btree (hour);
create policy session_hours_of_database_owner on public.session_hours for select to owner of the database using (true);
create policy session_hours_of_staff on public.session_hours for select to authenticated using (( SELECT app.is_staff() AS is_staff));
create policy session_hours_of_system on public.session_hours for all to service_role using (true) with check (true);
grant select on public.session_hours to authenticated;
grant delete, insert, select, update on public.session_hours to service_role;

-- the WhatsApp numbers that a session has had, one after the other
create table public.session_numbers (
  id bigint not null generated always as identity,
  session_id uuid not null,
  user_id uuid not null,
  phone text not null,  -- digits, as its server said
  since timestamp with time zone,  -- null: its first one
  until timestamp with time zone,  -- null: its present one
  replaced text,  -- the number for which was made what waits for its owner's word; null: nothing does
  decision text,  -- what becomes of it: it goes on by this number, or is dropped
  decided_at timestamp with time zone,
  CHECK (((decision IS NULL) = (decided_at IS NULL))),
  CHECK (((replaced IS NOT NULL) OR (decided_at IS NULL))),
  CHECK ((decision = ANY (ARRAY['continue'::text, 'drop'::text]))),
  FOREIGN KEY (session_id) REFERENCES whatsapp_sessions(id) ON DELETE CASCADE,
  PRIMARY KEY (id)
);
CREATE INDEX session_numbers_of_line ON public.session_numbers USING btree (app.get_address_key(phone));
CREATE INDEX session_numbers_of_session ON public.session_numbers USING btree (session_id, id);
CREATE UNIQUE INDEX session_numbers_current ON public.session_numbers USING btree (session_id) WHERE (until IS NULL);
create policy session_numbers_decided_by_owner on public.session_numbers for update to authenticated using (((( SELECT auth.uid() AS uid) = user_id) AND (until IS NULL) AND (replaced IS NOT NULL) AND (decided_at IS NULL))) with check ((( SELECT auth.uid() AS uid) = user_id));
create policy session_numbers_of_database_owner on public.session_numbers for all to owner of the database using (true) with check (true);
create policy session_numbers_of_owner_or_staff on public.session_numbers for select to authenticated using (((( SELECT auth.uid() AS uid) = user_id) OR ( SELECT app.is_staff() AS is_staff)));
create policy session_numbers_of_system on public.session_numbers for all to service_role using (true) with check (true);
grant select on public.session_numbers to authenticated;
grant update (decided_at, decision) on public.session_numbers to authenticated;
grant delete, insert, select, update on public.session_numbers to service_role;

create table public.session_timeline (
  id bigint not null generated always as identity,
  session_id uuid not null,
  user_id uuid not null,
  occurred_at timestamp with time zone not null default clock_timestamp(),
  kind text not null,  -- state: it changed by itself or by its user; staff: somebody of the staff did something; health: the worker found or healed something
  action text not null,
  outcome text,  -- ok, failed, or null where there is none
  detail jsonb not null default '{}'::jsonb,
  actor_id uuid default auth.uid(),
  request_id text,
  CHECK ((kind = ANY (ARRAY['state'::text, 'staff'::text, 'health'::text]))),
  FOREIGN KEY (session_id) REFERENCES whatsapp_sessions(id) ON DELETE CASCADE,
  PRIMARY KEY (id)
);
CREATE INDEX session_timeline_in_time ON public.session_timeline USING btree (occurred_at);
CREATE INDEX session_timeline_of_session ON public.session_timeline USING btree (session_id, id DESC);
CREATE INDEX session_timeline_states ON public.session_timeline USING btree (session_id, occurred_at) WHERE ((kind = 'state'::text) AND (action = ANY (ARRAY['desconectado'::text, 'pareando'::text, 'conectado'::text])));
create policy session_timeline_by_staff on public.session_timeline for insert to authenticated with check ((( SELECT app.is_staff() AS is_staff) AND (kind = 'staff'::text)));
create policy session_timeline_of_database_owner on public.session_timeline for all to owner of the database using (true) with check (true);
create policy session_timeline_of_owner_or_staff on public.session_timeline for select to authenticated using (((( SELECT auth.uid() AS uid) = user_id) OR ( SELECT app.is_staff() AS is_staff)));
create policy session_timeline_of_system on public.session_timeline for all to service_role using (true) with check (true);
grant insert (action, detail, kind, outcome, request_id, session_id, user_id) on public.session_timeline to authenticated;
grant select on public.session_timeline to authenticated;
grant insert, select on public.session_timeline to service_role;

create table public.sign_in_attempts (
  id bigint not null generated always as identity,
  key bytea not null,  -- sha256 of the lower-case e-mail: people type passwords into that box
  ip text,
  succeeded boolean not null default false,
  occurred_at timestamp with time zone not null default clock_timestamp(),
  PRIMARY KEY (id)
);
CREATE INDEX sign_in_attempts_at ON public.sign_in_attempts USING btree (occurred_at);
CREATE INDEX sign_in_attempts_ip ON public.sign_in_attempts USING btree (ip, occurred_at DESC) WHERE ((ip IS NOT NULL) AND (NOT succeeded));
CREATE INDEX sign_in_attempts_key ON public.sign_in_attempts USING btree (key, occurred_at DESC);
create policy sign_in_attempts_of_database_owner on public.sign_in_attempts for all to owner of the database using (true) with check (true);
create policy sign_in_attempts_of_system on public.sign_in_attempts for all to service_role using (true) with check (true);
grant delete, select on public.sign_in_attempts to service_role;

-- sign-ins that ended before their token expires: copies of it are worthless
create table public.signed_out (
  sign_in_id uuid not null,
  expires_at timestamp with time zone not null,
  PRIMARY KEY (sign_in_id)
);
CREATE INDEX signed_out_expiry ON public.signed_out USING btree (expires_at);
create policy signed_out_of_database_owner on public.signed_out for all to owner of the database using (true) with check (true);
create policy signed_out_of_system on public.signed_out for all to service_role using (true) with check (true);
grant delete, select on public.signed_out to service_role;

create table public.template_versions (
  template_id uuid not null,
  version integer not null,
  user_id uuid not null,  -- the owner of the template, and so of the file
  kind text not null,
  body text not null,
  media_sha256 bytea,
  mimetype text,
  filename text,
  defaults jsonb not null default '{}'::jsonb,  -- the variables that there are: name → what stands there when nothing is given, null where something must be
  created_by uuid not null,
  created_at timestamp with time zone not null default now(),
  CHECK ((length(body) <= 4096)),
  CHECK ((version > 0)),
  FOREIGN KEY (template_id, user_id) REFERENCES templates(id, user_id) ON DELETE CASCADE,
  FOREIGN KEY (user_id, media_sha256) REFERENCES media(user_id, sha256),
  PRIMARY KEY (template_id, version)
);
CREATE INDEX template_versions_media ON public.template_versions USING btree (user_id, media_sha256) WHERE (media_sha256 IS NOT NULL);
create policy template_versions_made on public.template_versions for insert to authenticated with check (((( SELECT auth.uid() AS uid) = user_id) AND (( SELECT auth.uid() AS uid) = created_by)));
create policy template_versions_of_database_owner on public.template_versions for select to owner of the database using (true);
create policy template_versions_of_system on public.template_versions for all to service_role using (true) with check (true);
create policy template_versions_read on public.template_versions for select to authenticated using (((( SELECT auth.uid() AS uid) = user_id) OR (EXISTS ( SELECT
   FROM templates t
  WHERE ((t.id = template_versions.template_id) AND t.shared)))));
grant insert (body, created_by, defaults, filename, kind, media_sha256, mimetype, template_id, user_id, version) on public.template_versions to authenticated;
grant select on public.template_versions to authenticated;
grant select on public.template_versions to service_role;

create table public.templates (
  id uuid not null default gen_random_uuid(),
  user_id uuid not null,
  shared boolean not null default false,  -- made by staff, read by everybody
  name text not null,
  version integer not null default 1,  -- the newest one
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  archived_at timestamp with time zone,
  CHECK (((length(name) >= 1) AND (length(name) <= 80))),
  CHECK ((version > 0)),
  FOREIGN KEY (user_id) REFERENCES auth.users(id) ON DELETE CASCADE,
  PRIMARY KEY (id),
  UNIQUE (id, user_id)
);
CREATE INDEX templates_of_owner ON public.templates USING btree (user_id, lower(name));
CREATE INDEX templates_shared ON public.templates USING btree (lower(name)) WHERE shared;
create policy templates_changed on public.templates for update to authenticated using (
CASE
    WHEN shared THEN ( SELECT app.is_staff() AS is_staff)
    ELSE (( SELECT auth.uid() AS uid) = user_id)
END) with check ((((( SELECT auth.uid() AS uid) = user_id) OR shared) AND ((NOT shared) OR ( SELECT app.is_staff() AS is_staff))));
create policy templates_made on public.templates for insert to authenticated with check (((( SELECT auth.uid() AS uid) = user_id) AND ((NOT shared) OR ( SELECT app.is_staff() AS is_staff))));
create policy templates_of_system on public.templates for all to service_role using (true) with check (true);
create policy templates_read on public.templates for select to authenticated using (((( SELECT auth.uid() AS uid) = user_id) OR shared));
grant insert (name, shared, user_id) on public.templates to authenticated;
grant select on public.templates to authenticated;
grant update (archived_at, name, shared, updated_at, version) on public.templates to authenticated;
grant select on public.templates to service_role;

create table public.webhook_deliveries (
  id uuid not null default gen_random_uuid(),
  seq bigint not null generated always as identity,
  endpoint_id uuid not null,
  user_id uuid,  -- whose endpoint it is, copied from there
  kind text not null,
  message_id uuid,
  session_id uuid,
  new_state text,  -- the state that message or session came to; no other content is kept here
  state text not null default 'waiting'::text,
  attempts integer not null default 0,
  next_at timestamp with time zone not null default clock_timestamp(),  -- when it is due; while it is being sent, the end of the lease
  last_status integer,
  last_error text,
  created_at timestamp with time zone not null default clock_timestamp(),
  tried_at timestamp with time zone,
  done_at timestamp with time zone,
  dead_at timestamp with time zone,
  CHECK ((state = ANY (ARRAY['waiting'::text, 'sending'::text, 'done'::text, 'dead'::text]))),
  FOREIGN KEY (endpoint_id) REFERENCES webhook_endpoints(id) ON DELETE CASCADE,
  PRIMARY KEY (id)
);
CREATE INDEX webhook_deliveries_dead ON public.webhook_deliveries USING btree (endpoint_id, seq DESC) WHERE (state = 'dead'::text);
CREATE INDEX webhook_deliveries_due ON public.webhook_deliveries USING btree (endpoint_id, next_at) WHERE (state = ANY (ARRAY['waiting'::text, 'sending'::text]));
CREATE INDEX webhook_deliveries_in_time ON public.webhook_deliveries USING brin (created_at);
CREATE INDEX webhook_deliveries_of_endpoint ON public.webhook_deliveries USING btree (endpoint_id, seq DESC);
CREATE TRIGGER notify AFTER INSERT OR UPDATE OF state ON public.webhook_deliveries FOR EACH ROW EXECUTE FUNCTION app.notify_webhook();
create policy webhook_deliveries_of_database_owner on public.webhook_deliveries for all to owner of the database using (true) with check (true);
create policy webhook_deliveries_of_owner on public.webhook_deliveries for select to authenticated using (((( SELECT auth.uid() AS uid) = user_id) OR ((user_id IS NULL) AND ( SELECT app.is_staff() AS is_staff))));
create policy webhook_deliveries_of_system on public.webhook_deliveries for all to service_role using (true) with check (true);
create policy webhook_deliveries_replayed_by_owner on public.webhook_deliveries for update to authenticated using (((state = 'dead'::text) AND ((( SELECT auth.uid() AS uid) = user_id) OR ((user_id IS NULL) AND ( SELECT app.is_admin() AS is_admin))))) with check (((state = 'waiting'::text) AND ((( SELECT auth.uid() AS uid) = user_id) OR ((user_id IS NULL) AND ( SELECT app.is_admin() AS is_admin)))));
create policy webhook_deliveries_tested_by_owner on public.webhook_deliveries for insert to authenticated with check (((kind = 'webhook.test'::text) AND (state = 'waiting'::text) AND (EXISTS ( SELECT
   FROM webhook_endpoints e
  WHERE ((e.id = webhook_deliveries.endpoint_id) AND (NOT (e.user_id IS DISTINCT FROM webhook_deliveries.user_id))))) AND ((( SELECT auth.uid() AS uid) = user_id) OR ((user_id IS NULL) AND ( SELECT app.is_admin() AS is_admin)))));
grant insert (endpoint_id, kind, user_id) on public.webhook_deliveries to authenticated;
grant select on public.webhook_deliveries to authenticated;
grant update (attempts, dead_at, next_at, state) on public.webhook_deliveries to authenticated;
grant delete, insert, select, update on public.webhook_deliveries to service_role;

create table public.webhook_endpoints (
  id uuid not null default gen_random_uuid(),
  user_id uuid,  -- whose events it hears of; null: those of everybody, without texts
  url text not null,
  kinds text[] not null,
  secret text not null,
  previous_secret text,
  rotated_at timestamp with time zone,
  active boolean not null default true,
  off_reason text,  -- it said 410, or it failed for days; null: turned off by hand
  failures integer not null default 0,  -- in a row, counting only those where nobody was there to answer
  failing_since timestamp with time zone,
  available_at timestamp with time zone not null default now(),  -- nothing is tried before: grows with the failures
  created_at timestamp with time zone not null default now(),
  CHECK (((cardinality(kinds) > 0) AND (kinds <@ ARRAY['message.received'::text, 'message.state'::text, 'session.status'::text]))),
  CHECK (((length(url) >= 8) AND (length(url) <= 2048))),
  CHECK ((off_reason = ANY (ARRAY['gone'::text, 'failing'::text]))),
  CHECK ((secret ~~ 'whsec_%'::text)),
  FOREIGN KEY (user_id) REFERENCES auth.users(id) ON DELETE CASCADE,
  PRIMARY KEY (id)
);
CREATE INDEX webhook_endpoints_of_user ON public.webhook_endpoints USING btree (user_id);
CREATE TRIGGER reset_changed BEFORE UPDATE OF url, secret, active ON public.webhook_endpoints FOR EACH ROW EXECUTE FUNCTION app.reset_changed_endpoint();
create policy webhook_endpoints_changed_by_owner on public.webhook_endpoints for update to authenticated using (((( SELECT auth.uid() AS uid) = user_id) OR ((user_id IS NULL) AND ( SELECT app.is_admin() AS is_admin)))) with check (((( SELECT auth.uid() AS uid) = user_id) OR ((user_id IS NULL) AND ( SELECT app.is_admin() AS is_admin))));
create policy webhook_endpoints_deleted_by_owner on public.webhook_endpoints for delete to authenticated using (((( SELECT auth.uid() AS uid) = user_id) OR ((user_id IS NULL) AND ( SELECT app.is_admin() AS is_admin))));
create policy webhook_endpoints_made_by_owner on public.webhook_endpoints for insert to authenticated with check (((( SELECT auth.uid() AS uid) = user_id) OR ((user_id IS NULL) AND ( SELECT app.is_admin() AS is_admin))));
create policy webhook_endpoints_of_database_owner on public.webhook_endpoints for all to owner of the database using (true) with check (true);
create policy webhook_endpoints_of_owner on public.webhook_endpoints for select to authenticated using (((( SELECT auth.uid() AS uid) = user_id) OR ((user_id IS NULL) AND ( SELECT app.is_staff() AS is_staff))));
create policy webhook_endpoints_of_system on public.webhook_endpoints for all to service_role using (true) with check (true);
grant delete on public.webhook_endpoints to authenticated;
grant insert (kinds, secret, url, user_id) on public.webhook_endpoints to authenticated;
grant select (active, available_at, created_at, failing_since, failures, id, kinds, off_reason, rotated_at, url, user_id) on public.webhook_endpoints to authenticated;
grant update (active, available_at, kinds, secret, url) on public.webhook_endpoints to authenticated;
grant delete, insert, select, update on public.webhook_endpoints to service_role;

create table public.whatsapp_sessions (
  id uuid not null default gen_random_uuid(),
  user_id uuid not null,
  session_id text not null,
  status text not null default 'desconectado'::text,
  qr_code text,
  server_url text,
  last_activity timestamp with time zone,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  qr_urlcode text,
  qr_received_at timestamp with time zone,
  qr_expires_at timestamp with time zone,
  qr_count integer not null default 0,
  pairing_phone text,
  phone_code text,
  phone_code_at timestamp with time zone,
  pairing_started_at timestamp with time zone,
  scanned_at timestamp with time zone,
  reported_state text,
  reported_at timestamp with time zone,
  settling_since timestamp with time zone,  -- since when the server says that it comes up and does not say CONNECTED yet
  last_proof_at timestamp with time zone,
  last_proof_kind text,
  questioned_at timestamp with time zone,  -- when WhatsApp was last asked for its life by a question that must leave the browser, or would have been
  probed_at timestamp with time zone,  -- when its server was last asked whether its page lives
  check_at timestamp with time zone,
  connected_at timestamp with time zone,
  phone_number text,
  device_name text,
  failure text,
  desired_connected boolean not null default false,  -- true from the moment it came up until somebody disconnects it or the phone logs it out
  ended_on_purpose_at timestamp with time zone,  -- when somebody ended it on purpose: where its server brings it back, it is ended again
  start_at timestamp with time zone,  -- a start is wanted that the server was not asked for yet: when to try it next, and the lease of whoever tries
  start_asked_at timestamp with time zone,  -- when the server was last asked to start it
  start_phone text,  -- the number of that start, where it was by code
  profile_available_at timestamp with time zone,  -- until then a browser that is ending, or a start that nobody scanned, holds its profile
  webhook_secret_hash bytea,
  webhook_secret_previous_hash bytea,
  webhook_secret_used_at timestamp with time zone,
  retention_lease_until timestamp with time zone,  -- lease of a clean-up: no start may begin before it ends
  cleared_at timestamp with time zone,  -- when its data on the WPPConnect server was deleted; counts only while later than updated_at
  CHECK ((session_id = ('user_'::text || (user_id)::text))),
  CHECK ((status = ANY (ARRAY['desconectado'::text, 'pareando'::text, 'conectado'::text]))),
  FOREIGN KEY (user_id) REFERENCES auth.users(id) ON DELETE CASCADE,
  PRIMARY KEY (id)
);
CREATE INDEX whatsapp_sessions_check ON public.whatsapp_sessions USING btree (check_at) WHERE (check_at IS NOT NULL);
CREATE INDEX whatsapp_sessions_codes ON public.whatsapp_sessions USING btree (id) WHERE ((qr_code IS NOT NULL) OR (qr_urlcode IS NOT NULL) OR (phone_code IS NOT NULL));
CREATE INDEX whatsapp_sessions_fallen ON public.whatsapp_sessions USING btree (updated_at) WHERE ((status = 'desconectado'::text) AND (failure IS NOT NULL));
CREATE INDEX whatsapp_sessions_of_line ON public.whatsapp_sessions USING btree (app.get_address_key(phone_number)) WHERE (phone_number IS NOT NULL);
CREATE INDEX whatsapp_sessions_probe ON public.whatsapp_sessions USING btree (GREATEST(last_proof_at, probed_at) NULLS FIRST) WHERE (status = 'conectado'::text);
CREATE INDEX whatsapp_sessions_server ON public.whatsapp_sessions USING btree (server_url, status);
CREATE INDEX whatsapp_sessions_status ON public.whatsapp_sessions USING btree (status, updated_at);
CREATE UNIQUE INDEX whatsapp_sessions_session ON public.whatsapp_sessions USING btree (session_id);
CREATE UNIQUE INDEX whatsapp_sessions_user ON public.whatsapp_sessions USING btree (user_id);
CREATE TRIGGER enqueue_created AFTER INSERT ON public.whatsapp_sessions FOR EACH ROW EXECUTE FUNCTION app.enqueue_session_webhook();
CREATE TRIGGER enqueue_status AFTER UPDATE OF status ON public.whatsapp_sessions FOR EACH ROW WHEN ((new.status IS DISTINCT FROM old.status)) EXECUTE FUNCTION app.enqueue_session_webhook();
CREATE TRIGGER hold_lane AFTER UPDATE OF status, settling_since ON public.whatsapp_sessions FOR EACH ROW WHEN (((old.status IS DISTINCT FROM new.status) OR ((old.settling_since IS NULL) IS DISTINCT FROM (new.settling_since IS NULL)))) EXECUTE FUNCTION app.hold_lane();
CREATE TRIGGER notify AFTER INSERT OR UPDATE OF status, qr_urlcode, phone_code, scanned_at, reported_state, last_proof_at, phone_number, device_name, failure, pairing_started_at ON public.whatsapp_sessions FOR EACH ROW EXECUTE FUNCTION app.notify_session();
CREATE TRIGGER notify_check AFTER INSERT OR UPDATE OF check_at ON public.whatsapp_sessions FOR EACH ROW WHEN ((new.check_at <= now())) EXECUTE FUNCTION app.notify_check();
CREATE TRIGGER notify_health AFTER UPDATE OF status ON public.whatsapp_sessions FOR EACH ROW WHEN (((old.status IS DISTINCT FROM new.status) AND ((new.status = 'conectado'::text) OR ((old.status = 'conectado'::text) AND (new.status = 'desconectado'::text) AND new.desired_connected)))) EXECUTE FUNCTION app.notify_health();
CREATE TRIGGER record_first_state AFTER INSERT ON public.whatsapp_sessions FOR EACH ROW WHEN ((new.status = 'pareando'::text)) EXECUTE FUNCTION app.record_session_state();
CREATE TRIGGER record_number AFTER INSERT OR UPDATE OF phone_number ON public.whatsapp_sessions FOR EACH ROW WHEN ((new.phone_number IS NOT NULL)) EXECUTE FUNCTION app.record_number();
CREATE TRIGGER record_outage AFTER UPDATE OF status ON public.whatsapp_sessions FOR EACH ROW WHEN ((new.status IS DISTINCT FROM old.status)) EXECUTE FUNCTION app.record_session_outage();
CREATE TRIGGER record_state AFTER UPDATE OF status, server_url, scanned_at ON public.whatsapp_sessions FOR EACH ROW WHEN (((new.status IS DISTINCT FROM old.status) OR (new.server_url IS DISTINCT FROM old.server_url) OR ((new.scanned_at IS NOT NULL) AND (old.scanned_at IS NULL)))) EXECUTE FUNCTION app.record_session_state();
CREATE TRIGGER rotate_webhook_secret BEFORE UPDATE OF webhook_secret_hash ON public.whatsapp_sessions FOR EACH ROW WHEN ((new.webhook_secret_hash IS DISTINCT FROM old.webhook_secret_hash)) EXECUTE FUNCTION app.rotate_webhook_secret();
create policy sessions_of_owner_or_staff on public.whatsapp_sessions for all to authenticated using (((( SELECT auth.uid() AS uid) = user_id) OR ( SELECT app.is_staff() AS is_staff))) with check (((( SELECT auth.uid() AS uid) = user_id) OR ( SELECT app.is_staff() AS is_staff)));
create policy whatsapp_sessions_of_database_owner on public.whatsapp_sessions for all to owner of the database using (true) with check (true);
create policy whatsapp_sessions_of_system on public.whatsapp_sessions for all to service_role using (true) with check (true);
grant insert (server_url, session_id, status, user_id) on public.whatsapp_sessions to authenticated;
grant select (check_at, connected_at, created_at, desired_connected, device_name, ended_on_purpose_at, failure, id, last_activity, last_proof_at, last_proof_kind, pairing_phone, pairing_started_at, phone_code, phone_code_at, phone_number, probed_at, profile_available_at, qr_code, qr_count, qr_expires_at, qr_received_at, qr_urlcode, questioned_at, reported_at, reported_state, retention_lease_until, scanned_at, server_url, session_id, settling_since, start_asked_at, start_at, start_phone, status, updated_at, user_id) on public.whatsapp_sessions to authenticated;
grant update (check_at, connected_at, desired_connected, device_name, ended_on_purpose_at, failure, last_activity, last_proof_at, last_proof_kind, pairing_phone, pairing_started_at, phone_code, phone_code_at, phone_number, probed_at, profile_available_at, qr_code, qr_count, qr_expires_at, qr_received_at, qr_urlcode, questioned_at, reported_at, reported_state, scanned_at, server_url, settling_since, start_asked_at, start_at, start_phone, status, updated_at, webhook_secret_hash) on public.whatsapp_sessions to authenticated;
grant delete, insert, select, update on public.whatsapp_sessions to service_role;

create table public.wpp_servers (
  url text not null,
  number integer not null generated always as identity,  -- what people call it by: its address never leaves the processes
  capacity integer not null default 100,
  drained_at timestamp with time zone,  -- since when it gets no new session; null: it gets them
  healthy boolean,  -- null: never looked at
  state_since timestamp with time zone,  -- since when it is as healthy says
  checked_at timestamp with time zone,
  latency_ms integer,
  version text,
  started_at timestamp with time zone,
  error text,  -- code of the newest failure, kept after the recovery
  error_detail text,
  error_at timestamp with time zone,
  scanned_at timestamp with time zone,
  warnings text[] not null default '{}'::text[],
  CHECK (((capacity >= 0) AND (capacity <= 100000))),
  PRIMARY KEY (url)
);
CREATE TRIGGER record_outage AFTER UPDATE OF healthy ON public.wpp_servers FOR EACH ROW WHEN ((new.healthy AND (old.healthy IS FALSE))) EXECUTE FUNCTION app.record_server_outage();
create policy wpp_servers_by_admin on public.wpp_servers for update to authenticated using (( SELECT app.is_admin() AS is_admin)) with check (( SELECT app.is_admin() AS is_admin));
create policy wpp_servers_of_database_owner on public.wpp_servers for all to owner of the database using (true) with check (true);
create policy wpp_servers_of_staff on public.wpp_servers for select to authenticated using (( SELECT app.is_staff() AS is_staff));
create policy wpp_servers_of_system on public.wpp_servers for all to service_role using (true) with check (true);
grant select on public.wpp_servers to authenticated;
grant update (capacity, drained_at) on public.wpp_servers to authenticated;
grant select on public.wpp_servers to service_role;

-- Views
-- app.directory (user_id, email, name, role)
-- app.expired_codes (id, qr_since, code_since, since)
-- app.expired_events (id, since)
-- app.expired_heartbeats (place, since)
-- app.expired_jobs (id, since)
-- app.expired_media (user_id, sha256, since)
-- app.expired_pending_acks (place, since)
-- app.expired_runs (id, since)
-- app.expired_security_events (id, since)
-- app.expired_sessions (id, name, server_url, since, retention_lease_until, cleared, needed)
-- app.expired_sign_in_attempts (id, since)
-- app.expired_signed_out (sign_in_id, since)
-- app.expired_timeline (id, since)

-- Functions
-- app.add_opt_out(its_phone text) returns boolean, called by authenticated
-- app.allow_only_ending() returns trigger
-- app.audit_digest(r audit_log) returns bytea
-- app.begin_sign_in(wanted text, from_ip text) returns TABLE(attempt bigint, user_id uuid, email text, password_hash text, role text, active boolean, token_version integer, name text, failures_recent integer, locked_until timestamp with time zone), called by plushify_console
-- app.carry_over_contact(made uuid) returns void
-- app.chain_audit() returns trigger
-- app.choose_server(urls text[], home text) returns text, called by authenticated, service_role
-- app.claim_annotations(of_message uuid) returns void, called by service_role
-- app.claim_expired_session(keep interval, history interval, lease interval, passed_over uuid[], servers_down text[]) returns TABLE(id uuid, name text, server_url text, cleared boolean, since timestamp with time zone, claim timestamp with time zone), called by service_role
-- app.claim_media(keep interval, most integer, lease interval) returns TABLE(user_id uuid, sha256 bytea, lease_until timestamp with time zone, fresh boolean), called by service_role
-- app.claimed_role() returns text, called by authenticated, plushify_console, plushify_system, service_role
-- app.count_expired(keep jsonb) returns TABLE(kind text, found bigint, oldest timestamp with time zone), called by authenticated, service_role
-- app.count_hits(wanted bytea, seconds integer, amount integer, most integer, door text, who text) returns TABLE(counted integer, until timestamp with time zone), called by plushify_console
-- app.count_number_questions(of_session uuid) returns bigint, called by authenticated, service_role
-- app.count_number_usage(of_user uuid, since timestamp with time zone, until timestamp with time zone) returns TABLE(total bigint, cold bigint), called by authenticated, service_role
-- app.count_uncertain() returns TABLE(user_id uuid, waiting bigint, oldest timestamp with time zone), called by authenticated
-- app.count_unread(session uuid) returns integer, called by authenticated
-- app.create_contact(of_session uuid, its_address text, its_phone text, its_lid text, group_chat boolean, said_at timestamp with time zone) returns uuid
-- app.create_lane() returns trigger
-- app.create_one_time_link(wanted uuid, purpose text, token_hash bytea, until timestamp with time zone) returns void, called by authenticated
-- app.delete_media(owner uuid, content bytea, lease timestamp with time zone) returns void, called by service_role
-- app.email_key(email text) returns bytea
-- app.end_opt_out(of_user uuid, its_phone text, reason text) returns boolean, called by authenticated
-- app.enqueue_message_webhook() returns trigger
-- app.enqueue_session_webhook() returns trigger
-- app.enqueue_webhook(owner uuid, event text, came_to text, message uuid, session uuid) returns void
-- app.file_contacts_by_number(of_session uuid, earlier text, present text) returns void
-- app.file_message() returns trigger
-- app.find_message(of_session uuid, named text, said timestamp with time zone, says text, learns boolean) returns uuid, called by service_role
-- app.finish_expired_session(wanted uuid, seen timestamp with time zone, claimed timestamp with time zone, keep interval, history interval) returns text, called by service_role
-- app.fold_message(gone uuid, kept uuid) returns void
-- app.fold_text(words text) returns text, called by authenticated, service_role
-- app.get_address_key(address text) returns text, called by authenticated, service_role
-- app.get_api_key(hash bytea) returns TABLE(key_id uuid, user_id uuid, email text, scopes text[]), called by plushify_console
-- app.get_contact_of_message(of_session uuid, own text, its_address text, its_phone text, its_lid text, group_chat boolean, said_at timestamp with time zone) returns uuid, called by service_role
-- app.get_line_of_user(of_user uuid) returns text, called by authenticated, service_role
-- app.get_message_facts(message uuid) returns jsonb, called by authenticated
-- app.get_message_key(wpp_id text) returns text, called by authenticated, service_role
-- app.get_one_time_link(token_hash bytea) returns TABLE(email text, purpose text), called by plushify_console
-- app.get_or_create_contact(of_session uuid, its_address text, its_phone text, its_lid text, group_chat boolean, said_at timestamp with time zone) returns uuid, called by service_role
-- app.get_quarter(moment timestamp with time zone) returns timestamp with time zone, called by service_role
-- app.get_search_words(written text) returns tsvector, called by authenticated, service_role
-- app.get_session_facts(owner uuid) returns jsonb, called by authenticated
-- app.get_sign_in(wanted uuid, sign_in uuid) returns TABLE(email text, role text, active boolean, token_version integer, name text), called by plushify_console
-- app.has_break_glass(user_id uuid, scope text) returns boolean, called by authenticated
-- app.hold_lane() returns trigger
-- app.invite_user(wanted text, known_as text, as_role text, token_hash bytea, until timestamp with time zone) returns uuid, called by authenticated
-- app.is_admin() returns boolean, called by authenticated, plushify_console, plushify_system, service_role
-- app.is_session_expired(since timestamp with time zone, cleared boolean, needed timestamp with time zone, keep interval, history interval) returns boolean
-- app.is_staff() returns boolean, called by authenticated, plushify_console, plushify_system, service_role
-- app.is_written(kind text) returns boolean, called by authenticated, service_role
-- app.join_contacts(kept uuid, gone uuid) returns void, called by service_role
-- app.list_break_glass_users(wanted text) returns SETOF uuid, called by authenticated
-- app.list_message_acks(message uuid, keys uuid[]) returns TABLE(key uuid, received_at timestamp with time zone), called by authenticated
-- app.list_users_of_number(of_session uuid) returns SETOF uuid, called by service_role
-- app.locked_until(wanted bytea, from_ip text) returns TABLE(failures integer, until timestamp with time zone)
-- app.manages_users() returns boolean, called by authenticated
-- app.mark_moved_message() returns trigger
-- app.mark_new_messages() returns trigger
-- app.mark_opt_outs() returns trigger
-- app.mark_read_on_phone(of_contact uuid, said timestamp with time zone, says text) returns void, called by service_role
-- app.may_be_one_person(first uuid, second uuid) returns boolean, called by service_role
-- app.move_annotations(of_session uuid, old_name text, new_name text) returns void, called by service_role
-- app.note_opt_in(of_user uuid, its_phone text, word text, said timestamp with time zone) returns void, called by service_role
-- app.note_opt_out(of_user uuid, its_phone text, word text, said timestamp with time zone) returns boolean, called by service_role
-- app.notify_account() returns trigger
-- app.notify_campaign() returns trigger
-- app.notify_check() returns trigger
-- app.notify_cleanup() returns trigger
-- app.notify_health() returns trigger
-- app.notify_incident() returns trigger
-- app.notify_lane() returns trigger
-- app.notify_message() returns trigger
-- app.notify_outage() returns trigger
-- app.notify_rolling_restart() returns trigger
-- app.notify_schedule() returns trigger
-- app.notify_schedule_run() returns trigger
-- app.notify_session() returns trigger
-- app.notify_waiting() returns trigger
-- app.notify_webhook() returns trigger
-- app.parse_role(meta jsonb) returns text
-- app.purge_expired(kind text, keep interval, most integer) returns integer, called by service_role
-- app.purge_security_events(keep interval, most integer) returns integer
-- app.record_addresses() returns trigger
-- app.record_cold_outcome() returns trigger
-- app.record_metrics(process text, instance text, samples jsonb) returns void, called by plushify_console, service_role
-- app.record_number() returns trigger
-- app.record_outage(cause text, began timestamp with time zone, ended timestamp with time zone, of_server text, of_session uuid) returns void, called by service_role
-- app.record_server_check(looked_url text, well boolean, latency integer, told_version text, uptime double precision, code text, detail text) returns void, called by authenticated, service_role
-- app.record_server_outage() returns trigger
-- app.record_server_scan(scanned_url text, found_warnings text[]) returns void, called by authenticated, service_role
-- app.record_session_outage() returns trigger
-- app.record_session_state() returns trigger
-- app.record_sign_in(attempt bigint, succeeded boolean, who uuid, request text) returns void, called by plushify_console
-- app.record_waiting() returns trigger
-- app.recount_unread(of_contact uuid) returns void, called by service_role
-- app.redeem_one_time_link(token_hash bytea, password_hash text) returns uuid, called by plushify_console
-- app.refuse_change() returns trigger
-- app.refuse_media_deleting() returns trigger
-- app.register_servers(urls text[]) returns void, called by authenticated, service_role
-- app.release_expired_session(wanted uuid, claimed timestamp with time zone, ask boolean) returns void, called by service_role
-- app.require_manager() returns void
-- app.require_other_admin(leaving uuid) returns void
-- app.reset_changed_endpoint() returns trigger
-- app.revoke_tokens(wanted uuid) returns void, called by authenticated
-- app.rotate_webhook_secret() returns trigger
-- app.search_messages(whose uuid, typed text, most integer) returns TABLE(message_id uuid), called by authenticated
-- app.set_user_active(wanted uuid, to_be boolean) returns void, called by authenticated
-- app.set_user_role(wanted uuid, as_role text) returns void, called by authenticated
-- app.share_opt_out(of_contact uuid) returns void
-- app.share_opt_outs() returns trigger
-- app.sign_out(sign_in uuid, until timestamp with time zone) returns void, called by plushify_console
-- app.store_events(sessions text[], current_secrets boolean[], kinds text[], keys uuid[], verdicts text[], requests uuid[], bodies text[]) returns integer, called by plushify_system
-- app.take_own_address(of_session uuid, own text) returns text
-- app.tenant_tables() returns TABLE(schema_name text, table_name text, is_view boolean, filled integer), called by authenticated
-- app.withhold_queued() returns trigger
