"""Tables of the fleet: sessions, their timeline and incidents, servers and rolling restarts."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Identity,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from services.db.tables.base import metadata, time_column

sessions = Table(
    "whatsapp_sessions",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("user_id", Uuid, nullable=False),
    Column("session_id", Text, nullable=False),
    Column("status", Text, nullable=False, server_default="desconectado"),
    Column("qr_code", Text),
    Column("server_url", Text),
    time_column("last_activity"),
    time_column("created_at", default=True),
    time_column("updated_at", default=True),
    Column("qr_urlcode", Text),
    time_column("qr_received_at"),
    time_column("qr_expires_at"),
    Column("qr_count", Integer, nullable=False, server_default="0"),
    Column("pairing_phone", Text),
    Column("phone_code", Text),
    time_column("phone_code_at"),
    time_column("pairing_started_at"),
    time_column("scanned_at"),
    Column("reported_state", Text),
    time_column("reported_at"),
    time_column("last_proof_at"),
    Column("last_proof_kind", Text),
    time_column("connected_at"),
    Column("phone_number", Text),
    Column("device_name", Text),
    Column("failure", Text),
    time_column("check_at"),
    Column("webhook_secret_hash", LargeBinary),
    Column("webhook_secret_previous_hash", LargeBinary),
    time_column("webhook_secret_used_at"),
    time_column("retention_lease_until"),
    time_column("cleared_at"),
    Column("desired_connected", Boolean, nullable=False, server_default="false"),
    time_column("probed_at"),
    time_column("start_at"),
    time_column("start_asked_at"),
    Column("start_phone", Text),
    time_column("profile_available_at"),
    time_column("settling_since"),
    time_column("ended_on_purpose_at"),
    time_column("questioned_at"),
)

session_numbers = Table(
    "session_numbers",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("session_id", Uuid, nullable=False),
    Column("user_id", Uuid, nullable=False),
    Column("phone", Text, nullable=False),
    time_column("since"),
    time_column("until"),
    Column("replaced", Text),
    Column("decision", Text),
    time_column("decided_at"),
    comment="the WhatsApp numbers that a session has had, one after the other",
)

session_timeline = Table(
    "session_timeline",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("session_id", Uuid, nullable=False),
    Column("user_id", Uuid, nullable=False),
    time_column("occurred_at", default=True),
    Column("kind", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("outcome", Text),
    Column("detail", JSONB, nullable=False, server_default="{}"),
    Column("actor_id", Uuid, server_default=text("auth.uid()")),
    Column("request_id", Text),
)

incidents = Table(
    "incidents",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("session_id", Uuid),
    Column("user_id", Uuid),
    Column("server_url", Text),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="open"),
    time_column("detected_at", default=True),
    Column("steps", Integer, nullable=False, server_default="0"),
    time_column("acted_at"),
    time_column("due_at", default=True),
    time_column("ended_at"),
    time_column("notified_at"),
)

session_hours = Table(
    "session_hours",
    metadata,
    Column("session", Text, primary_key=True),
    Column("hour", DateTime(timezone=True), primary_key=True),
    Column("events", Integer, nullable=False),
    Column("last_at", DateTime(timezone=True), nullable=False),
)

fleet_samples = Table(
    "fleet_samples",
    metadata,
    Column("sampled_at", DateTime(timezone=True), primary_key=True),
    Column("figures", JSONB, nullable=False),
)

rolling_restarts = Table(
    "rolling_restarts",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("actor_id", Uuid, nullable=False),
    Column("server_url", Text),
    Column("paused", Boolean, nullable=False, server_default="false"),
    time_column("created_at", default=True),
    time_column("ended_at"),
    Column("cancelled", Boolean, nullable=False, server_default="false"),
)

rolling_restart_items = Table(
    "rolling_restart_items",
    metadata,
    Column("rolling_restart_id", BigInteger, primary_key=True),
    Column("session_id", Uuid, primary_key=True),
    Column("user_id", Uuid, nullable=False),
    Column("server_url", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="waiting"),
    time_column("started_at"),
)

wpp_servers = Table(
    "wpp_servers",
    metadata,
    Column("url", Text, primary_key=True),
    Column("number", Integer, Identity(always=True), nullable=False),
    Column("capacity", Integer, nullable=False, server_default="100"),
    time_column("drained_at"),
    Column("healthy", Boolean),
    time_column("state_since"),
    time_column("checked_at"),
    Column("latency_ms", Integer),
    Column("version", Text),
    time_column("started_at"),
    Column("error", Text),
    Column("error_detail", Text),
    time_column("error_at"),
    time_column("scanned_at"),
    Column("warnings", ARRAY(Text), nullable=False, server_default="{}"),
)

server_checks = Table(
    "server_checks",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("url", Text, nullable=False),
    time_column("started_at", default=True),
    Column("done", SmallInteger, nullable=False, server_default="0"),
    Column("steps", SmallInteger, nullable=False),
    time_column("finished_at"),
    Column("version", Text),
    Column("error", Text),
    Column("facts", JSONB, nullable=False, server_default="[]"),
)
