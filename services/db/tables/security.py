"""Tables of security: the audit log, security events and break-glass access."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Identity,
    LargeBinary,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from services.db.tables.base import metadata, time_column

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    time_column("occurred_at", default=True),
    Column("actor_id", Uuid),
    Column("actor_role", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text),
    Column("detail", JSONB, nullable=False, server_default="{}"),
    Column("request_id", Text),
    # Given by the chain's trigger.
    Column("seq", BigInteger, nullable=False),
    Column("prev_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)

audit_head = Table(
    "audit_head",
    metadata,
    Column("only_row", Boolean, primary_key=True, server_default="true"),
    Column("seq", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    comment="the newest record of audit_log, moved by its trigger: shows a missing end",
)

security_events = Table(
    "security_events",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    time_column("occurred_at", default=True),
    Column("kind", Text, nullable=False),
    Column("subject", Text),
    Column("ip", Text),
    Column("detail", JSONB, nullable=False, server_default="{}"),
    Column("request_id", Text),
    Column("actor_id", Uuid),
    comment="never holds a secret, not even a wrong one",
)

break_glass_grants = Table(
    "break_glass_grants",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("actor_id", Uuid, nullable=False),
    Column("user_id", Uuid, nullable=False),
    Column("scope", Text, nullable=False),
    Column("reason", Text, nullable=False),
    time_column("started_at", default=True),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    time_column("ended_at"),
    comment="staff who look at what is a user's own: why, and until when; it ends by time",
)
