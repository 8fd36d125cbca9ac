"""A group's name comes with none of its messages: it is asked for, as the phone behind a `@lid` is."""

from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None

FILED = r"""
do $$ begin
  execute replace(pg_get_functiondef('app.contact_of(uuid, text, text, text, boolean)'::regprocedure),
    'case when its_phone is null and its_lid is not null then now() end',
    'case when its_phone is null and its_lid is not null or its_address like ''%@g.us'' then now() end');
end $$;
"""

COMMENT = """
comment on column public.contacts.identify_at is
  'when the phone behind its @lid, or the group''s name, is to be asked for; null: never'
"""

NAMELESS = """
update public.contacts set identify_at = now()
 where address like '%@g.us' and name is null and pushname is null and identify_at is null
"""


def upgrade() -> None:
    for part in (FILED, COMMENT, NAMELESS):
        op.get_bind().connection.driver_connection.execute(part)
