"""Tables of reporting: the rollups of messages by quarter hours and days."""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Identity,
    Integer,
    SmallInteger,
    Table,
    Text,
    Uuid,
)

from services.db.tables.base import metadata, time_column

report_buckets = Table(
    "report_buckets",
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

report_dirty_buckets = Table(
    "report_dirty_buckets",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("user_id", Uuid, nullable=False),
    Column("quarter", DateTime(timezone=True), nullable=False),
    Column("phone", Text),
    time_column("created_at", default=True),
    comment="quarters whose figures are no longer those of the messages, as often as noted",
)
