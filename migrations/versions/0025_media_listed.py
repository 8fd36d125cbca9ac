"""Let a person list their own files, newest first."""

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

INDEX = "create index media_of_user on public.media (user_id, created_at desc, sha256 desc)"


def upgrade() -> None:
    op.get_bind().connection.driver_connection.execute(INDEX)
