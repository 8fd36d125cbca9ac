"""Consent of a person: an opt-out holds for a line however it is spelt and for every address of whoever said it, and
can be taken back.

People could add an opt-out and never take one back. Now the contact's own newest word counts, whatever comes first; and
the session's owner, or an admin who broke the glass, can undo a slip: with a reason, on the record, and by
`app.end_opt_out` alone. Nobody else has rights to write here: `app.add_opt_out` notes one for its owner.
"""

from migrations.ddl import execute, install

revision = "0014_consent"
down_revision = "0013_identity"
branch_labels = None
depends_on = None

RIGHTS = """
drop policy opt_outs_noted_by_owner on public.opt_outs;
revoke insert (user_id, phone) on public.opt_outs from authenticated;
create policy opt_outs_of_database_owner on public.opt_outs to current_user using (true) with check (true);
create policy campaign_recipients_of_database_owner on public.campaign_recipients to current_user
  using (true) with check (true);
"""

# Of two rows of one line the older stays.
ONE_A_LINE = """
delete from public.opt_outs o using public.opt_outs older
 where older.user_id = o.user_id and app.get_address_key(older.phone) = app.get_address_key(o.phone)
   and (older.created_at, older.phone) < (o.created_at, o.phone);
"""
OPT_OUTS = """
alter table public.opt_outs
  add column address_key text generated always as (app.get_address_key(phone)) stored,
  add column said_at timestamptz default now(),
  add column ended_at timestamptz,
  add column ended_word text,
  add column ended_by uuid,
  add column ended_reason text,
  add column copied boolean not null default false,
  add constraint opt_outs_said check (said_at is not null or ended_at is not null);
alter table public.opt_outs
  add column undone_until timestamptz
    generated always as (case when ended_by is null then ended_at else said_at end) stored,
  drop constraint opt_outs_pkey,
  add primary key (user_id, address_key);
update public.opt_outs set said_at = created_at;
create index opt_outs_in_effect on public.opt_outs (user_id, said_at desc, address_key) where ended_at is null;
comment on table public.opt_outs is
  'who asked not to be written to again, and who took that back; outlives sessions, contacts and messages';
comment on column public.opt_outs.phone is 'digits, or the …@lid of somebody without a number';
comment on column public.opt_outs.address_key is 'the line or the person, however it is spelt';
comment on column public.opt_outs.said_at is
  'the newest word for silence, by WhatsApp''s clock; null: there was none, only one that takes it back';
comment on column public.opt_outs.ended_at is 'since when it has no effect; null: in effect';
comment on column public.opt_outs.ended_word is 'what they wrote to take it back';
comment on column public.opt_outs.ended_by is 'the person who undid it, for ended_reason';
comment on column public.opt_outs.undone_until is
  'words for silence until then have no effect: a contact takes back what they said before, a person what they knew of';
comment on column public.opt_outs.copied is 'said under another address of the same contact: reports count a word once';
"""
# What was said under one address of a contact counts for all of them.
SHARED = """
select app.share_opt_out(a.contact_id) from public.contact_addresses a
 where exists (select from public.opt_outs o where o.user_id = a.user_id and o.address_key = a.address);
"""


def upgrade() -> None:
    execute(RIGHTS)
    execute(ONE_A_LINE)
    execute(OPT_OUTS)
    install("share_opt_out", "note_opt_out", "note_opt_in", "add_opt_out", "end_opt_out")
    execute(SHARED)
    install("share_opt_outs", "withhold_queued", "mark_opt_outs")
