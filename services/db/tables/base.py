"""The metadata that all tables share, and the type of a row.

Our tables are SQLAlchemy Core tables, one file a package of services. The migrations make them; a test compares
both. Services return frozen dataclasses; nothing of `services.db.tables` leaves `services`.
"""

from typing import Any

from sqlalchemy import (
    Column,
    DateTime,
    MetaData,
    Row,
    text,
)

metadata = MetaData()

# One row of any statement; it never leaves `services`.
Record = Row[*tuple[Any, ...]]


def time_column(name: str, *, default: bool = False) -> Column[object]:
    """A column for a moment (`timestamptz`); with `default` it is the time of the insert, else it may be null."""
    return Column(
        name, DateTime(timezone=True), server_default=text("now()") if default else None, nullable=not default
    )
