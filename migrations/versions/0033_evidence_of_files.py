"""A delivery was as large as the file in it, though the file has been put aside since."""

from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

# A file came as base64, a third longer. The event keeps `"body":{"sha256":…,"size":…}` in its place. What was not
# put aside is large by itself.
EVIDENCE = r"""
do $$ begin
  execute replace(pg_get_functiondef('app.session_evidence(uuid)'::regprocedure), 'octet_length(e.body) as bytes',
    'case when octet_length(e.body) > 65536 then octet_length(e.body) else greatest(octet_length(e.body), coalesce('
    || '(substring(e.body from ''"body":\{"sha256":"[0-9a-f]{64}","size":([0-9]{1,12})''))::bigint * 4 / 3, 0)) end'
    || ' as bytes');
end $$;
"""


def upgrade() -> None:
    op.get_bind().connection.driver_connection.execute(EVIDENCE)
