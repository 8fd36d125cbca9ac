"""Runs the migrations as the owner of the database. The URL comes from `services.db.migrate`."""

from alembic import context
from sqlalchemy import create_engine, pool

from services.db.engine import psycopg_url
from services.db.tables.base import metadata

url = context.config.attributes["database_url"]
engine = create_engine(psycopg_url(url).replace("postgresql://", "postgresql+psycopg://", 1), poolclass=pool.NullPool)

with engine.connect() as connection:
    # Two starters at once: the second waits here and then finds nothing left to do.
    connection.exec_driver_sql("select pg_advisory_lock(hashtext('plushify-migrations'))")
    connection.commit()
    context.configure(connection=connection, target_metadata=metadata, version_table_schema="public")
    with context.begin_transaction():
        context.run_migrations()
