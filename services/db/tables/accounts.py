"""Tables of accounts: what the console knows of users, and their API keys."""

from sqlalchemy import (
    ARRAY,
    Boolean,
    Column,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
    text,
)

from services.db.tables.base import metadata, time_column

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("user_id", Uuid, nullable=False),
    Column("name", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("prefix", Text, nullable=False),
    Column("secret_hash", LargeBinary, nullable=False),
    time_column("created_at", default=True),
    time_column("last_used_at"),
    time_column("expires_at"),
    time_column("revoked_at"),
)

accounts = Table(
    "accounts",
    metadata,
    Column("user_id", Uuid, primary_key=True),
    Column("token_version", Integer, nullable=False, server_default="1"),
    Column("active", Boolean, nullable=False, server_default="true"),
    Column("name", Text),
    time_column("updated_at", default=True),
    comment="what the console knows of a user beyond auth.users; no row means the defaults",
)

directory = Table(
    "directory",
    metadata,
    Column("user_id", Uuid, primary_key=True),
    Column("email", Text),
    Column("name", Text),
    Column("role", Text),
    schema="app",
    info={"is_view": True},
)
