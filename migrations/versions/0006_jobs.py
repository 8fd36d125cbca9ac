"""procrastinate's own tables, in a schema of their own that only the worker reaches."""

from alembic import op
from procrastinate.schema import SchemaManager

from services import settings  # noqa: F401

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    driver = op.get_bind().connection.driver_connection
    driver.execute("create schema jobs")
    driver.execute("set local search_path = jobs")
    driver.execute(SchemaManager.get_schema())
    driver.execute("set local search_path = public")
    driver.execute("grant usage on schema jobs to service_role")
    driver.execute("grant select, insert, update, delete on all tables in schema jobs to service_role")
    driver.execute("grant usage, select on all sequences in schema jobs to service_role")
    driver.execute("grant execute on all functions in schema jobs to service_role")
