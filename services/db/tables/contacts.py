"""Tables of contacts: contacts, opt-outs and number checks."""

from sqlalchemy import (
    ARRAY,
    Boolean,
    Column,
    Computed,
    DateTime,
    Integer,
    Table,
    Text,
    Uuid,
    text,
)

from services.db.tables.base import metadata, time_column

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
    time_column("blocked_at"),
    Column("unread", Integer, nullable=False, server_default="0"),
    time_column("last_message_at"),
    time_column("created_at", default=True),
    time_column("updated_at", default=True),
    time_column("identify_at"),
    Column("identifications", Integer, nullable=False, server_default="0"),
    Column("name_typed", Boolean, nullable=False, server_default="false"),
    time_column("identified_at"),
    time_column("read_until"),
    Column("of_number", Text),
)

contact_addresses = Table(
    "contact_addresses",
    metadata,
    Column("session_id", Uuid, primary_key=True),
    Column("address", Text, primary_key=True),
    Column("contact_id", Uuid, nullable=False),
    Column("user_id", Uuid, nullable=False),
    comment="who is meant by an address: every address that a contact has",
)

opt_outs = Table(
    "opt_outs",
    metadata,
    Column("user_id", Uuid, primary_key=True),
    Column("phone", Text, nullable=False),
    time_column("created_at", default=True),
    Column("trigger_word", Text),
    Column("address_key", Text, Computed("app.get_address_key(phone)", persisted=True), primary_key=True),
    Column("said_at", DateTime(timezone=True), server_default=text("now()")),
    time_column("ended_at"),
    Column("ended_word", Text),
    Column("ended_by", Uuid),
    Column("ended_reason", Text),
    Column("copied", Boolean, nullable=False, server_default="false"),
    Column(
        "undone_until",
        DateTime(timezone=True),
        Computed("case when ended_by is null then ended_at else said_at end", persisted=True),
    ),
    comment="who asked not to be written to again, and who took that back; outlives sessions, contacts and messages",
)

number_checks = Table(
    "number_checks",
    metadata,
    Column("session_id", Uuid, primary_key=True),
    Column("user_id", Uuid, nullable=False),
    Column("phone", Text, primary_key=True),
    Column("on_whatsapp", Boolean),
    Column("address", Text),
    time_column("asked_at", default=True),
    time_column("checked_at"),
    time_column("confirmed_at"),
    time_column("fresh_until"),
)
