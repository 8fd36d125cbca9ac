"""The number that a session is: which ones it has had, whose conversations are whose, and what is the number's own.

A session can be paired with another phone, and one phone with two sessions. So conversations are told apart by number,
what was made for the number before waits for its owner's word, and what WhatsApp counts by number is counted by number.
"""

from migrations.ddl import execute, install, tenant_table

revision = "0015_own_number"
down_revision = "0014_consent"
branch_labels = None
depends_on = None

SESSION_NUMBERS = """
create table public.session_numbers (
  id bigint generated always as identity primary key,
  session_id uuid not null references public.whatsapp_sessions (id) on delete cascade,
  user_id uuid not null,
  phone text not null,
  since timestamptz,
  until timestamptz,
  replaced text,
  decision text check (decision in ('continue', 'drop')),
  decided_at timestamptz,
  check ((decision is null) = (decided_at is null)),
  check (replaced is not null or decided_at is null)
);
create unique index session_numbers_current on public.session_numbers (session_id) where until is null;
create index session_numbers_of_session on public.session_numbers (session_id, id);
create index session_numbers_of_line on public.session_numbers (app.get_address_key(phone));
comment on table public.session_numbers is 'the WhatsApp numbers that a session has had, one after the other';
comment on column public.session_numbers.phone is 'digits, as its server said';
comment on column public.session_numbers.since is 'null: its first one';
comment on column public.session_numbers.until is 'null: its present one';
comment on column public.session_numbers.replaced is
  'the number for which was made what waits for its owner''s word; null: nothing does';
comment on column public.session_numbers.decision is 'what becomes of it: it goes on by this number, or is dropped';
create index whatsapp_sessions_of_line on public.whatsapp_sessions (app.get_address_key(phone_number))
  where phone_number is not null;
"""
# Only the owner says what becomes of what waits, once, and of the present number.
SESSION_NUMBER_RIGHTS = """
grant update (decision, decided_at) on public.session_numbers to authenticated;
create policy session_numbers_decided_by_owner on public.session_numbers for update to authenticated
  using ((select auth.uid()) = user_id and until is null and replaced is not null and decided_at is null)
  with check ((select auth.uid()) = user_id);
"""
NUMBERS_OF_SESSIONS = """
insert into public.session_numbers (session_id, user_id, phone)
select id, user_id, phone_number from public.whatsapp_sessions where phone_number is not null order by created_at, id
"""

LANES = """
alter table public.lanes add column stopped_for text check (stopped_for = 'number');
comment on column public.lanes.stopped_for is 'number: another phone was paired, and its owner has not said what to do';
"""

# The three indexes find who somebody was under an earlier number; without one they are empty.
CONTACTS = """
alter table public.contacts add column of_number text;
comment on column public.contacts.of_number is
  'the session''s earlier number whose conversation it is, as app.get_address_key writes it; null: the present one''s';
drop index public.contacts_address, public.contacts_phone, public.contacts_lid;
create unique index contacts_address on public.contacts (session_id, address) where of_number is null;
create unique index contacts_phone on public.contacts (session_id, phone) where phone is not null and of_number is null;
create unique index contacts_lid on public.contacts (session_id, lid) where lid is not null and of_number is null;
create index contacts_earlier_address on public.contacts (session_id, app.get_address_key(address))
  where of_number is not null;
create index contacts_earlier_phone on public.contacts (session_id, app.get_address_key(phone))
  where of_number is not null and phone is not null;
create index contacts_earlier_lid on public.contacts (session_id, lid) where of_number is not null and lid is not null;
"""

# Two sessions of one number are staff's business: who else has it, neither owner learns.
INCIDENTS = """
alter table public.incidents drop constraint incidents_kind_check;
alter table public.incidents add constraint incidents_kind_check check (kind in ('zombie', 'dropped', 'stuck', 'silent',
  'not_scanned', 'logged_out', 'unacked', 'server_down', 'same_number'));
create policy incidents_of_shared_numbers on public.incidents as restrictive for select to authenticated
  using (kind <> 'same_number' or (select app.is_staff()));
"""


def upgrade() -> None:
    execute(SESSION_NUMBERS)
    tenant_table("session_numbers", read_by="owner_or_staff", definer="all")
    execute(SESSION_NUMBER_RIGHTS)
    execute("revoke all on sequence public.session_numbers_id_seq from public, anon, authenticated")
    execute(NUMBERS_OF_SESSIONS)
    execute(LANES)
    execute(CONTACTS)
    execute(INCIDENTS)
    install(
        "file_contacts_by_number",
        "carry_over_contact",
        "record_number",
        "record_present_addresses",
        "create_contact",
        "find_message",
    )
    install("file_message", "hold_lane", "create_lane", "count_unread")
    install("take_own_address", "get_contact_of_message")
    install("get_line_of_user", "list_users_of_number", "count_number_usage", "count_number_questions")
