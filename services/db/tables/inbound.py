"""Tables of inbound events: the event store, annotations, outages and automations."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Identity,
    Integer,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from services.db.tables.base import metadata, time_column

events = Table(
    "events",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    time_column("received_at", default=True),
    Column("session", Text),
    Column("current_secret", Boolean, nullable=False, server_default="true"),
    Column("kind", Text, nullable=False),
    Column("dedupe_key", Uuid),
    Column("verdict", Text, nullable=False, server_default="received"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    time_column("retry_at"),
    Column("error", Text),
    time_column("handled_at"),
    Column("request_id", Uuid, nullable=False),
    Column("body", Text, nullable=False),
    comment="every webhook delivery, stored raw before it is answered",
)

message_annotations = Table(
    "message_annotations",
    metadata,
    Column("session_id", Uuid, primary_key=True),
    Column("wpp_id", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("author", Text, primary_key=True),
    Column("user_id", Uuid, nullable=False),
    Column("occurred_at", DateTime(timezone=True), nullable=False),
    Column("value", JSONB, nullable=False, server_default="{}"),
    comment="what happened to a message later: by whom, when; the newest of each counts",
)

outages = Table(
    "outages",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("session_id", Uuid, nullable=False),
    Column("user_id", Uuid, nullable=False),
    Column("from_at", DateTime(timezone=True), nullable=False),
    time_column("to_at"),
    Column("reason", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="waiting"),
    time_column("next_at", default=True),
    Column("attempts", Integer, nullable=False, server_default="0"),
    time_column("listed_at"),
    Column("chats", Integer, nullable=False, server_default="0"),
    Column("recovered", Integer, nullable=False, server_default="0"),
    Column("failed", Integer, nullable=False, server_default="0"),
    Column("failure", Text),
    time_column("created_at", default=True),
    time_column("done_at"),
    comment="when somebody was away, so that messages may have been missed",
)

outage_chats = Table(
    "outage_chats",
    metadata,
    Column("outage_id", Uuid, primary_key=True),
    Column("address", Text, primary_key=True),
    Column("user_id", Uuid, nullable=False),
    Column("state", Text, nullable=False, server_default="waiting"),
    Column("recovered", Integer, nullable=False, server_default="0"),
    Column("failure", Text),
    comment="the chats that are read back for an outage",
)

automations = Table(
    "automations",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("user_id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("active", Boolean, nullable=False, server_default="true"),
    Column("reply", Text),
    Column("time_zone", Text),
    Column("hours", JSONB),
    Column("words", ARRAY(Text)),
    Column("label", Text),
    time_column("created_at", default=True),
    comment="what a user wants done with what comes in",
)

automation_uses = Table(
    "automation_uses",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("automation_id", Uuid, nullable=False),
    Column("user_id", Uuid, nullable=False),
    Column("contact_id", Uuid, nullable=False),
    Column("message_id", Uuid),
    Column("day", Date, nullable=False),
    Column("action", Text, nullable=False),
    time_column("occurred_at", default=True),
    comment="what automations did, without a word of what was said",
)

event_dry_runs = Table(
    "event_dry_runs",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("event_id", BigInteger, nullable=False),
    Column("actor_id", Uuid, nullable=False),
    time_column("asked_at", default=True),
    Column("answer", JSONB),
    comment="what an event would change: asked by staff, answered by the worker",
)
