"""What is written to a group joins the group's conversation: its address is no phone of anybody's."""

from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

FILING = """
create or replace function app.file_message() returns trigger
language plpgsql volatile security definer set search_path = '' as $f$
declare
  leaving boolean := new.state = 'sending' and (tg_op = 'INSERT' or old.state <> 'sending');
  anonymous text := case when new.address like '%@lid' then new.address end;
  is_group boolean := new.phone like '%@g.us';
begin
  if tg_op = 'INSERT' and new.state = 'queued' then
    new.at := new.run_at;
  elsif leaving then
    new.at := clock_timestamp();
  end if;
  if new.contact_id is null and not leaving then
    if is_group then
      select c.id into new.contact_id from public.contacts c
       where c.session_id = new.session_id and c.address = new.phone;
    else
      select c.id into new.contact_id from public.contacts c
       where c.session_id = new.session_id and c.phone = new.phone;
    end if;
  elsif leaving and is_group and new.contact_id is null then
    new.contact_id := app.contact_of(new.session_id, new.phone, null, null, true);
  elsif leaving and not is_group and (new.contact_id is null or anonymous is not null) then
    new.contact_id := app.contact_of(new.session_id, coalesce(nullif(new.address, ''), new.phone || '@c.us'),
      new.phone, anonymous, false);
  end if;
  if leaving then
    -- Not waited for: whoever holds the contact just now stores a message of the same moment, and two who wait for each
    -- other's contacts would end in a deadlock.
    update public.contacts set last_message_at = greatest(last_message_at, new.at) where id in (
      select c.id from public.contacts c where c.id = new.contact_id for no key update skip locked);
  end if;
  return new;
end $f$;
"""

# Groups that a campaign wrote to were taken for people whose phone is the group's address.
REPAIR = "update public.contacts set phone = null, is_group = true where address like '%@g.us'"


def upgrade() -> None:
    for part in (FILING, REPAIR):
        op.get_bind().connection.driver_connection.execute(part)
