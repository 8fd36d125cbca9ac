"""Tables of operations: retention runs and the processes' counters."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    Identity,
    Integer,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

from services.db.tables.base import metadata, time_column

process_metrics = Table(
    "process_metrics",
    metadata,
    Column("process", Text, primary_key=True),
    Column("instance", Text, primary_key=True),
    time_column("sampled_at", default=True),
    Column("samples", JSONB, nullable=False),
    comment="what each process counts, for whoever scrapes; no row of it names anybody",
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
    time_column("created_at", default=True),
    time_column("started_at"),
    time_column("finished_at"),
    Column("error", Text),
)
