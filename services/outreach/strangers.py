"""Who does not know the sender, and whether WhatsApp lets the sender write to them now.

Somebody knows the sender who wrote to the session lately (CAMPAIGN_COLD_DAYS); calling, or being written to, is not
enough. A group knows whoever is in it.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, select

from services import settings
from services.db import queries
from services.db.actor import Actor
from services.db.engine import transaction
from services.db.rows import read_row
from services.db.tables.outreach import campaign_lanes
from services.wppconnect.phone import list_spellings

_QUERIES = queries.load(__file__)


@dataclass(frozen=True)
class Refused:
    """Those of the recipients whom WhatsApp will most likely refuse, because the account is restricted."""

    phones: frozenset[str]
    restricted_at: datetime
    probe_at: datetime


@dataclass(frozen=True)
class _Lane:
    restricted_at: datetime
    probe_at: datetime


def find_refused(actor: Actor, phones: Collection[str]) -> Refused | None:
    """Those of `phones` (digits, or groups) who never wrote to the actor, while WhatsApp refuses new conversations of
    the actor's account; None while it does not, or where there is none of them.
    """
    user_id = actor.require_user("only a signed-in user writes to people")
    with transaction(actor) as tx:
        row = tx.execute(
            select(campaign_lanes.c.restricted_at, campaign_lanes.c.probe_at).where(
                campaign_lanes.c.user_id == user_id, campaign_lanes.c.restricted_at.is_not(None)
            )
        ).one_or_none()
        strangers = find_strangers(tx, user_id, phones) if row is not None and phones else frozenset()
    if row is None or not strangers:
        return None
    lane = read_row(_Lane, row)
    return Refused(strangers, lane.restricted_at, lane.probe_at)


def find_strangers(tx: Connection, user_id: UUID, phones: Collection[str]) -> frozenset[str]:
    """Those of `phones` (digits, or groups) who did not write to the user lately, by either spelling of their line."""
    values = {
        "user": user_id,
        "days": settings.get().campaigns.cold_days,
        "phones": list(phones),
        "twins": [list_spellings(phone)[-1] for phone in phones],
    }
    return frozenset(tx.execute(_FIND_STRANGERS, values).scalars())


_FIND_STRANGERS = _QUERIES["find_strangers"]
