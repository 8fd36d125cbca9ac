"""All tables that our code reads and writes, as SQLAlchemy Core tables. The migrations make them; a test compares both.

Services return frozen dataclasses; nothing from here leaves `services`.
"""

from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Identity,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData()

# One row of any statement; it never leaves `services`.
Record = Row[*tuple[Any, ...]]


def _time(name: str, *, default: bool = False) -> Column[object]:
    return Column(
        name, DateTime(timezone=True), server_default=text("now()") if default else None, nullable=not default
    )


sessions = Table(
    "whatsapp_sessions",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("user_id", Uuid, nullable=False),
    Column("session_id", Text, nullable=False),
    Column("status", Text, nullable=False, server_default="desconectado"),
    Column("qr_code", Text),
    Column("server_url", Text),
    _time("last_activity"),
    _time("created_at", default=True),
    _time("updated_at", default=True),
    Column("qr_urlcode", Text),
    _time("qr_received_at"),
    _time("qr_expires_at"),
    Column("qr_count", Integer, nullable=False, server_default="0"),
    Column("pairing_phone", Text),
    Column("phone_code", Text),
    _time("phone_code_at"),
    _time("pairing_started_at"),
    _time("scanned_at"),
    Column("reported_state", Text),
    _time("reported_at"),
    _time("last_proof_at"),
    Column("last_proof_kind", Text),
    _time("connected_at"),
    Column("phone_number", Text),
    Column("device_name", Text),
    Column("failure", Text),
    _time("check_at"),
    Column("webhook_secret_hash", LargeBinary),
    Column("webhook_secret_previous_hash", LargeBinary),
    _time("webhook_secret_used_at"),
    _time("cleaning_until"),
    _time("cleared_at"),
    Column("wants_up", Boolean, nullable=False, server_default="false"),
    _time("probed_at"),
)

session_timeline = Table(
    "session_timeline",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("session_id", Uuid, nullable=False),
    Column("user_id", Uuid, nullable=False),
    _time("at", default=True),
    Column("kind", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("outcome", Text),
    Column("detail", JSONB, nullable=False, server_default="{}"),
    Column("actor_id", Uuid, server_default=text("auth.uid()")),
    Column("request_id", Text),
)

findings = Table(
    "findings",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("session_id", Uuid),
    Column("user_id", Uuid),
    Column("server_url", Text),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="open"),
    _time("found_at", default=True),
    Column("steps", Integer, nullable=False, server_default="0"),
    _time("acted_at"),
    _time("due_at", default=True),
    _time("ended_at"),
    _time("told_at"),
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
    Column("at", DateTime(timezone=True), primary_key=True),
    Column("figures", JSONB, nullable=False),
)

waves = Table(
    "waves",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("actor_id", Uuid, nullable=False),
    Column("server_url", Text),
    Column("paused", Boolean, nullable=False, server_default="false"),
    _time("created_at", default=True),
    _time("ended_at"),
    Column("cancelled", Boolean, nullable=False, server_default="false"),
)

wave_items = Table(
    "wave_items",
    metadata,
    Column("wave_id", BigInteger, primary_key=True),
    Column("session_id", Uuid, primary_key=True),
    Column("user_id", Uuid, nullable=False),
    Column("server_url", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="waiting"),
    _time("started_at"),
)

lanes = Table(
    "lanes",
    metadata,
    Column("session_id", Uuid, primary_key=True),
    _time("free_at", default=True),
    _time("due_at"),
)

events = Table(
    "events",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    _time("received_at", default=True),
    Column("session", Text),
    Column("current_secret", Boolean, nullable=False, server_default="true"),
    Column("kind", Text, nullable=False),
    Column("dedupe_key", Uuid),
    Column("verdict", Text, nullable=False, server_default="received"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    _time("retry_at"),
    Column("error", Text),
    _time("handled_at"),
    Column("request_id", Uuid, nullable=False),
    Column("body", Text, nullable=False),
)

messages = Table(
    "messages",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("seq", BigInteger, Identity(always=True), nullable=False),
    Column("session_id", Uuid, nullable=False),
    Column("user_id", Uuid, nullable=False),
    Column("direction", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("phone", Text, nullable=False),
    Column("address", Text),
    Column("contact_name", Text),
    Column("kind", Text, nullable=False, server_default="chat"),
    Column("body", Text, nullable=False, server_default=""),
    Column("idempotency_key", Text),
    Column("wpp_id", Text),
    Column("ack", SmallInteger, nullable=False, server_default="0"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("failure", Text),
    Column("request_id", Text),
    _time("run_at", default=True),
    _time("created_at", default=True),
    _time("sending_at"),
    _time("accepted_at"),
    _time("sent_at"),
    _time("delivered_at"),
    _time("read_at"),
    _time("ended_at"),
    _time("reconcile_at"),
    Column("reconciliations", Integer, nullable=False, server_default="0"),
    _time("updated_at", default=True),
    _time("claimed_at"),
    _time("uncertain_at"),
    _time("reconciled_at"),
)

parked_acks = Table(
    "parked_acks",
    metadata,
    Column("session_id", Uuid, primary_key=True),
    Column("wpp_id", Text, primary_key=True),
    Column("ack", SmallInteger, nullable=False),
    _time("at", default=True),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("user_id", Uuid, nullable=False),
    Column("name", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("prefix", Text, nullable=False),
    Column("secret_hash", LargeBinary, nullable=False),
    _time("created_at", default=True),
    _time("last_used_at"),
    _time("expires_at"),
    _time("revoked_at"),
)

rate_limits = Table(
    "rate_limits",
    metadata,
    Column("key", LargeBinary, primary_key=True),
    Column("hits", Integer, nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
)

heartbeats = Table(
    "heartbeats",
    metadata,
    Column("process", Text, primary_key=True),
    Column("instance", Text, primary_key=True),
    _time("at", default=True),
)

cleanup_runs = Table(
    "cleanup_runs",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("actor_id", Uuid),
    Column("kinds", ARRAY(Text), nullable=False),
    Column("expected", JSONB, nullable=False, server_default="{}"),
    Column("counts", JSONB, nullable=False, server_default="{}"),
    Column("postponed", Integer, nullable=False, server_default="0"),
    _time("created_at", default=True),
    _time("started_at"),
    _time("finished_at"),
    Column("error", Text),
)

event_trials = Table(
    "event_trials",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("event_id", BigInteger, nullable=False),
    Column("actor_id", Uuid, nullable=False),
    _time("asked_at", default=True),
    Column("answer", JSONB),
)

wpp_servers = Table(
    "wpp_servers",
    metadata,
    Column("url", Text, primary_key=True),
    Column("number", Integer, Identity(always=True), nullable=False),
    Column("capacity", Integer, nullable=False, server_default="100"),
    _time("drained_at"),
    Column("healthy", Boolean),
    _time("state_since"),
    _time("looked_at"),
    Column("latency_ms", Integer),
    Column("version", Text),
    _time("started_at"),
    Column("error", Text),
    Column("error_detail", Text),
    _time("error_at"),
    _time("scanned_at"),
    Column("warnings", ARRAY(Text), nullable=False, server_default="{}"),
)

accounts = Table(
    "accounts",
    metadata,
    Column("user_id", Uuid, primary_key=True),
    Column("token_version", Integer, nullable=False, server_default="1"),
    Column("active", Boolean, nullable=False, server_default="true"),
    Column("name", Text),
    _time("updated_at", default=True),
    comment="what the console knows of a user beyond auth.users; no row means the defaults",
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    _time("at", default=True),
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
    _time("at", default=True),
    Column("kind", Text, nullable=False),
    Column("subject", Text),
    Column("ip", Text),
    Column("detail", JSONB, nullable=False, server_default="{}"),
    Column("request_id", Text),
    Column("actor_id", Uuid),
    comment="never holds a secret, not even a wrong one",
)

broken_glass = Table(
    "broken_glass",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("actor_id", Uuid, nullable=False),
    Column("user_id", Uuid, nullable=False),
    Column("scope", Text, nullable=False),
    Column("reason", Text, nullable=False),
    _time("started_at", default=True),
    Column("until", DateTime(timezone=True), nullable=False),
    _time("ended_at"),
    comment="staff who look at what is a user's own: why, and until when; it ends by time",
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
