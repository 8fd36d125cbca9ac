"""Tables of outreach: templates, campaigns and schedules."""

from sqlalchemy import (
    ARRAY,
    Boolean,
    Column,
    DateTime,
    Double,
    Integer,
    LargeBinary,
    Table,
    Text,
    Time,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from services.db.tables.base import metadata, time_column

campaigns = Table(
    "campaigns",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("user_id", Uuid, nullable=False),
    Column("name", Text, nullable=False),
    Column("template_id", Uuid, nullable=False),
    Column("template_version", Integer, nullable=False),
    Column("state", Text, nullable=False, server_default="draft"),
    Column("opens", Time, nullable=False),
    Column("closes", Time, nullable=False),
    Column("cap", Integer, nullable=False),
    Column("cold_share", Double, nullable=False),
    Column("pace", Double, nullable=False),
    time_column("created_at", default=True),
    time_column("started_at"),
    time_column("ended_at"),
    time_column("swept_at"),
    time_column("updated_at", default=True),
    comment="one template to many, released one by one as pacing allows",
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
    time_column("released_at"),
)

campaign_lanes = Table(
    "campaign_lanes",
    metadata,
    Column("user_id", Uuid, primary_key=True),
    Column("time_zone", Text, nullable=False),
    time_column("available_at", default=True),
    time_column("next_check_at"),
    Column("waiting_reason", Text),
    Column("phone_number", Text),
    time_column("warmup_started_at"),
    comment="one a sender: whoever holds its row is the only one to release for it",
)

schedules = Table(
    "schedules",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("user_id", Uuid, nullable=False),
    Column("name", Text, nullable=False),
    Column("time_zone", Text, nullable=False),
    Column("first_local_time", DateTime, nullable=False),
    Column("rule", Text),
    Column("kind", Text, nullable=False, server_default="chat"),
    Column("body", Text, nullable=False, server_default=""),
    Column("media_sha256", LargeBinary),
    Column("filename", Text),
    Column("detail", JSONB, nullable=False, server_default="{}"),
    Column("template_id", Uuid),
    Column("template_version", Integer),
    Column("recipients", JSONB, nullable=False),
    Column("next_local_time", DateTime),
    time_column("next_at"),
    time_column("next_check_at"),
    time_column("paused_at"),
    time_column("ended_at"),
    time_column("created_at", default=True),
    time_column("updated_at", default=True),
    comment="what is sent at a local time, once or again and again",
)

schedule_runs = Table(
    "schedule_runs",
    metadata,
    Column("schedule_id", Uuid, primary_key=True),
    Column("user_id", Uuid, nullable=False),
    Column("local_time", DateTime, primary_key=True),
    Column("due_at", DateTime(timezone=True), nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("message_ids", ARRAY(Uuid), nullable=False, server_default="{}"),
    Column("left_out", Integer, nullable=False, server_default="0"),
    time_column("decided_at", default=True),
    comment="one row an occurrence that was decided: what makes it happen once",
)

templates = Table(
    "templates",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("user_id", Uuid, nullable=False),
    Column("shared", Boolean, nullable=False, server_default="false"),
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
    time_column("created_at", default=True),
    time_column("updated_at", default=True),
    time_column("archived_at"),
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
    time_column("created_at", default=True),
    Column("created_by", Uuid, nullable=False),
)
