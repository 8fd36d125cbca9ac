"""All tables that our code reads and writes, as SQLAlchemy Core tables. The migrations make them; a test compares both.

Services return frozen dataclasses; nothing from here leaves `services`.
"""

from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Computed,
    Date,
    DateTime,
    Double,
    Identity,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    SmallInteger,
    Table,
    Text,
    Time,
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
    _time("start_at"),
    _time("start_asked_at"),
    Column("start_phone", Text),
    _time("profile_free_at"),
    _time("settling_since"),
    _time("ended_on_purpose_at"),
    _time("questioned_at"),
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
    _time("stopped_at"),
    Column("stopped_by_staff", Boolean, nullable=False, server_default="false"),
    Column("waiting_reason", Text),
    _time("waiting_since"),
    _time("retry_at"),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column(
        "ready_at",
        DateTime(timezone=True),
        Computed(
            "case when stopped_at is null and due_at is not null"
            " then nullif(greatest(free_at, due_at, retry_at), 'infinity'::timestamptz) end"
        ),
    ),
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
    Column("contact_id", Uuid),
    Column("media_sha256", LargeBinary),
    Column("mimetype", Text),
    Column("filename", Text),
    Column("detail", JSONB, nullable=False, server_default="{}"),
    Column("quoted_wpp_id", Text),
    Column("template_id", Uuid),
    Column("template_version", Integer),
    Column("schedule_id", Uuid),
    Column("campaign_id", Uuid),
    _time("at", default=True),
    _time("fetch_at"),
    Column("fetches", Integer, nullable=False, server_default="0"),
    _time("decided_at"),
    Column("decision", Text),
    Column("waiting_reason", Text),
    _time("waiting_since"),
    _time("asked_at"),
)

message_marks = Table(
    "message_marks",
    metadata,
    Column("session_id", Uuid, primary_key=True),
    Column("wpp_id", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("who", Text, primary_key=True),
    Column("user_id", Uuid, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("value", JSONB, nullable=False, server_default="{}"),
    comment="what happened to a message later: by whom, when; the newest of each counts",
)

media = Table(
    "media",
    metadata,
    Column("user_id", Uuid, primary_key=True),
    Column("sha256", LargeBinary, primary_key=True),
    Column("mimetype", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    _time("created_at", default=True),
    comment="one row and one file for each content of each user, however many messages carry it",
)

contacts = Table(
    "contacts",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("session_id", Uuid, nullable=False),
    Column("user_id", Uuid, nullable=False),
    Column("address", Text, nullable=False),
    Column("phone", Text),
    Column("lid", Text),
    Column("is_group", Boolean, nullable=False, server_default="false"),
    Column("name", Text),
    Column("pushname", Text),
    Column("notes", Text, nullable=False, server_default=""),
    Column("labels", ARRAY(Text), nullable=False, server_default="{}"),
    _time("blocked_at"),
    Column("unread", Integer, nullable=False, server_default="0"),
    _time("last_message_at"),
    _time("created_at", default=True),
    _time("updated_at", default=True),
    _time("identify_at"),
    Column("identifications", Integer, nullable=False, server_default="0"),
)

opt_outs = Table(
    "opt_outs",
    metadata,
    Column("user_id", Uuid, primary_key=True),
    Column("phone", Text, primary_key=True),
    _time("at", default=True),
    Column("word", Text),
    comment="who asked never to be written to again; outlives sessions, contacts and messages",
)

report_figures = Table(
    "report_figures",
    metadata,
    Column("span", Text, nullable=False),
    Column("user_id", Uuid),
    Column("starts_at", DateTime(timezone=True), nullable=False),
    Column("direction", Text, nullable=False),
    Column("template_id", Uuid),
    Column("campaign_id", Uuid),
    Column("failure", Text),
    Column("total", Integer, nullable=False),
    Column("waiting", Integer, nullable=False),
    Column("sent", Integer, nullable=False),
    Column("delivered", Integer, nullable=False),
    Column("read", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("uncertain", Integer, nullable=False),
    Column("opt_outs", Integer, nullable=False),
    Column("delivery_count", Integer, nullable=False),
    Column("delivery_ms", BigInteger, nullable=False),
    Column("reading_count", Integer, nullable=False),
    Column("reading_ms", BigInteger, nullable=False),
    Column("response_count", Integer, nullable=False),
    Column("response_ms", BigInteger, nullable=False),
    comment="what the messages come to, by when they were to leave; made from them alone",
)

report_times = Table(
    "report_times",
    metadata,
    Column("user_id", Uuid),
    Column("starts_at", DateTime(timezone=True), nullable=False),
    Column("measure", Text, nullable=False),
    Column("band", SmallInteger, nullable=False),
    Column("messages", Integer, nullable=False),
)

report_dirty = Table(
    "report_dirty",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("user_id", Uuid, nullable=False),
    Column("quarter", DateTime(timezone=True), nullable=False),
    Column("phone", Text),
    _time("at", default=True),
    comment="quarters whose figures are no longer those of the messages, as often as noted",
)

process_metrics = Table(
    "process_metrics",
    metadata,
    Column("process", Text, primary_key=True),
    Column("instance", Text, primary_key=True),
    _time("at", default=True),
    Column("samples", JSONB, nullable=False),
    comment="what each process counts, for whoever scrapes; no row of it names anybody",
)

campaigns = Table(
    "campaigns",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("user_id", Uuid, nullable=False),
    Column("name", Text, nullable=False),
    Column("template_id", Uuid, nullable=False),
    Column("template_version", Integer, nullable=False),
    Column("state", Text, nullable=False, server_default="rascunho"),
    Column("opens", Time, nullable=False),
    Column("closes", Time, nullable=False),
    Column("cap", Integer, nullable=False),
    Column("cold_share", Double, nullable=False),
    Column("pace", Double, nullable=False),
    _time("created_at", default=True),
    _time("started_at"),
    _time("ended_at"),
    _time("swept_at"),
    _time("updated_at", default=True),
)

campaign_recipients = Table(
    "campaign_recipients",
    metadata,
    Column("campaign_id", Uuid, primary_key=True),
    Column("user_id", Uuid, nullable=False),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("phone", Text, nullable=False),
    Column("name", Text),
    Column("variables", JSONB, nullable=False, server_default="{}"),
    Column("cold", Boolean, nullable=False, server_default="true"),
    Column("state", Text, nullable=False, server_default="waiting"),
    Column("reason", Text),
    Column("message_id", Uuid),
    _time("released_at"),
)

campaign_lanes = Table(
    "campaign_lanes",
    metadata,
    Column("user_id", Uuid, primary_key=True),
    Column("zone", Text, nullable=False),
    _time("free_at", default=True),
    _time("look_at"),
    Column("why", Text),
    Column("phone_number", Text),
    _time("young_since"),
    comment="one a sender: whoever holds its row is the only one to release for it",
)

schedules = Table(
    "schedules",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("user_id", Uuid, nullable=False),
    Column("name", Text, nullable=False),
    Column("zone", Text, nullable=False),
    Column("first_wall", DateTime, nullable=False),
    Column("rule", Text),
    Column("kind", Text, nullable=False, server_default="chat"),
    Column("body", Text, nullable=False, server_default=""),
    Column("media_sha256", LargeBinary),
    Column("filename", Text),
    Column("detail", JSONB, nullable=False, server_default="{}"),
    Column("template_id", Uuid),
    Column("template_version", Integer),
    Column("recipients", JSONB, nullable=False),
    Column("next_wall", DateTime),
    _time("next_at"),
    _time("look_at"),
    _time("paused_at"),
    _time("ended_at"),
    _time("created_at", default=True),
    _time("updated_at", default=True),
)

schedule_runs = Table(
    "schedule_runs",
    metadata,
    Column("schedule_id", Uuid, primary_key=True),
    Column("user_id", Uuid, nullable=False),
    Column("wall", DateTime, primary_key=True),
    Column("due_at", DateTime(timezone=True), nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("message_ids", ARRAY(Uuid), nullable=False, server_default="{}"),
    Column("left_out", Integer, nullable=False, server_default="0"),
    _time("at", default=True),
    comment="one row an occurrence that was decided: what makes it happen once",
)

number_checks = Table(
    "number_checks",
    metadata,
    Column("session_id", Uuid, primary_key=True),
    Column("user_id", Uuid, nullable=False),
    Column("phone", Text, primary_key=True),
    Column("on_whatsapp", Boolean),
    Column("address", Text),
    _time("asked_at", default=True),
    _time("checked_at"),
    _time("confirmed_at"),
    _time("fresh_until"),
)

templates = Table(
    "templates",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("user_id", Uuid, nullable=False),
    Column("shared", Boolean, nullable=False, server_default="false"),
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
    _time("created_at", default=True),
    _time("updated_at", default=True),
    _time("archived_at"),
)

template_versions = Table(
    "template_versions",
    metadata,
    Column("template_id", Uuid, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("user_id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("media_sha256", LargeBinary),
    Column("mimetype", Text),
    Column("filename", Text),
    Column("defaults", JSONB, nullable=False, server_default="{}"),
    _time("created_at", default=True),
    Column("created_by", Uuid, nullable=False),
)

parked_acks = Table(
    "parked_acks",
    metadata,
    Column("session_id", Uuid, primary_key=True),
    Column("wpp_id", Text, primary_key=True),
    Column("ack", SmallInteger, nullable=False),
    _time("at", default=True),
)

gaps = Table(
    "gaps",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("session_id", Uuid, nullable=False),
    Column("user_id", Uuid, nullable=False),
    Column("from_at", DateTime(timezone=True), nullable=False),
    _time("to_at"),
    Column("reason", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="waiting"),
    _time("next_at", default=True),
    Column("attempts", Integer, nullable=False, server_default="0"),
    _time("listed_at"),
    Column("chats", Integer, nullable=False, server_default="0"),
    Column("recovered", Integer, nullable=False, server_default="0"),
    Column("failed", Integer, nullable=False, server_default="0"),
    Column("why", Text),
    _time("created_at", default=True),
    _time("done_at"),
)

gap_chats = Table(
    "gap_chats",
    metadata,
    Column("gap_id", Uuid, primary_key=True),
    Column("address", Text, primary_key=True),
    Column("user_id", Uuid, nullable=False),
    Column("state", Text, nullable=False, server_default="waiting"),
    Column("recovered", Integer, nullable=False, server_default="0"),
    Column("why", Text),
)

rules = Table(
    "rules",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("user_id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("active", Boolean, nullable=False, server_default="true"),
    Column("reply", Text),
    Column("zone", Text),
    Column("hours", JSONB),
    Column("words", ARRAY(Text)),
    Column("label", Text),
    _time("created_at", default=True),
)

rule_uses = Table(
    "rule_uses",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("rule_id", Uuid, nullable=False),
    Column("user_id", Uuid, nullable=False),
    Column("contact_id", Uuid, nullable=False),
    Column("message_id", Uuid),
    Column("day", Date, nullable=False),
    Column("what", Text, nullable=False),
    _time("at", default=True),
)

endpoints = Table(
    "endpoints",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("user_id", Uuid),
    Column("url", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("previous_secret", Text),
    _time("rotated_at"),
    Column("kinds", ARRAY(Text), nullable=False),
    Column("active", Boolean, nullable=False, server_default="true"),
    Column("off_reason", Text),
    Column("failures", Integer, nullable=False, server_default="0"),
    _time("failing_since"),
    _time("free_at", default=True),
    _time("created_at", default=True),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("seq", BigInteger, Identity(always=True), nullable=False),
    Column("endpoint_id", Uuid, nullable=False),
    Column("user_id", Uuid),
    Column("kind", Text, nullable=False),
    Column("what", Text),
    Column("message_id", Uuid),
    Column("session_id", Uuid),
    Column("state", Text, nullable=False, server_default="waiting"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    _time("next_at", default=True),
    Column("last_status", Integer),
    Column("last_error", Text),
    _time("created_at", default=True),
    _time("tried_at"),
    _time("done_at"),
    _time("dead_at"),
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

server_checks = Table(
    "server_checks",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("url", Text, nullable=False),
    _time("started_at", default=True),
    Column("done", SmallInteger, nullable=False, server_default="0"),
    Column("steps", SmallInteger, nullable=False),
    _time("finished_at"),
    Column("version", Text),
    Column("error", Text),
    Column("facts", JSONB, nullable=False, server_default="[]"),
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
