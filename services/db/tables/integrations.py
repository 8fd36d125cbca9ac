"""Tables of integrations: webhook endpoints and their deliveries."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Identity,
    Integer,
    Table,
    Text,
    Uuid,
    text,
)

from services.db.tables.base import metadata, time_column

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("user_id", Uuid),
    Column("url", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("previous_secret", Text),
    time_column("rotated_at"),
    Column("kinds", ARRAY(Text), nullable=False),
    Column("active", Boolean, nullable=False, server_default="true"),
    Column("off_reason", Text),
    Column("failures", Integer, nullable=False, server_default="0"),
    time_column("failing_since"),
    time_column("available_at", default=True),
    time_column("created_at", default=True),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("seq", BigInteger, Identity(always=True), nullable=False),
    Column("endpoint_id", Uuid, nullable=False),
    Column("user_id", Uuid),
    Column("kind", Text, nullable=False),
    Column("new_state", Text),
    Column("message_id", Uuid),
    Column("session_id", Uuid),
    Column("state", Text, nullable=False, server_default="waiting"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    time_column("next_at", default=True),
    Column("last_status", Integer),
    Column("last_error", Text),
    time_column("created_at", default=True),
    time_column("tried_at"),
    time_column("done_at"),
    time_column("dead_at"),
)
