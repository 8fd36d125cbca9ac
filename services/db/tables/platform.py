"""Tables of the platform: media files, rate limits and heartbeats."""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
)

from services.db.tables.base import metadata, time_column

media = Table(
    "media",
    metadata,
    Column("user_id", Uuid, primary_key=True),
    Column("sha256", LargeBinary, primary_key=True),
    Column("mimetype", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    time_column("created_at", default=True),
    comment="one row and one file for each content of each user, however many messages carry it",
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
    time_column("beat_at", default=True),
)
