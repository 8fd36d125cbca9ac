"""A proof of life is what WhatsApp itself must have said: the questions that must leave the browser, each noted."""

from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None

# `get-phone-number` is answered out of the browser's storage: what it "proved" was never proved.
UNPROVED = """
update public.whatsapp_sessions set last_proof_at = null, last_proof_kind = null where last_proof_kind = 'phone_number';
"""

QUESTIONS = """
alter table public.whatsapp_sessions add column questioned_at timestamptz;
comment on column public.whatsapp_sessions.questioned_at is
  'when WhatsApp was last asked for its life by a question that must leave the browser, or would have been';
comment on column public.whatsapp_sessions.probed_at is 'when its server was last asked whether its page lives';
grant select (questioned_at), update (questioned_at) on public.whatsapp_sessions to authenticated;

create table public.proof_questions (
  id bigint generated always as identity primary key,
  session_id uuid not null references public.whatsapp_sessions (id) on delete cascade,
  server_url text not null,
  phone text not null,
  reason text not null check (reason in ('quiet', 'suspect', 'neighbour', 'again')),
  certain boolean not null,
  asked_at timestamptz not null default clock_timestamp(),
  answered_at timestamptz
);
comment on table public.proof_questions is 'questions about a number whose answer WhatsApp must give; kept for days';
comment on column public.proof_questions.phone is
  'about whom: often another session''s number, so nobody but the worker reads it';
comment on column public.proof_questions.certain is
  'false: the number may be a contact''s, for which the browser answers by itself';
create index proof_questions_of_session on public.proof_questions (session_id, asked_at);
create index proof_questions_quiet on public.proof_questions (server_url, asked_at) where reason = 'quiet';
create index proof_questions_asked on public.proof_questions (asked_at);

create index messages_doubted on public.messages (uncertain_at) where state = 'uncertain';
create index number_checks_unanswered on public.number_checks (asked_at)
  where checked_at is null or checked_at < asked_at;
"""

# Whose numbers are asked about is nobody's business but the worker's.
ISOLATION = """
alter table public.proof_questions enable row level security;
alter table public.proof_questions force row level security;
revoke all on public.proof_questions from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.proof_questions to service_role;
create policy proof_questions_of_system on public.proof_questions to service_role using (true) with check (true);
do $$ begin
  execute format('revoke all on sequence %s from public, anon, authenticated',
    pg_get_serial_sequence('public.proof_questions', 'id'));
end $$;
"""


def upgrade() -> None:
    for part in (UNPROVED, QUESTIONS, ISOLATION):
        op.get_bind().connection.driver_connection.execute(part)
