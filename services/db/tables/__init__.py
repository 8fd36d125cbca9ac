"""The tables as SQLAlchemy Core knows them, a file a package; importing this brings all of them into the metadata."""

from services.db.tables import (
    accounts,
    base,
    contacts,
    fleet,
    inbound,
    integrations,
    messaging,
    operations,
    outreach,
    platform,
    reporting,
    security,
)

__all__ = [
    "accounts",
    "base",
    "contacts",
    "fleet",
    "inbound",
    "integrations",
    "messaging",
    "operations",
    "outreach",
    "platform",
    "reporting",
    "security",
]
