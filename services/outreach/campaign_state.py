"""What a campaign is, its states, and how it is read.

    draft ──confirmed──▶ active ⇄ paused
                           │        └──┬──cancelled──▶ cancelled: released messages that have not left are cancelled
                           └──no recipient waits──▶ ended

Each recipient is waiting, then released (its message is queued in the same transaction), skipped with a reason, or
cancelled.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Select, select

from services.db.actor import Actor
from services.db.engine import transaction
from services.db.rows import read_row
from services.db.tables.base import Record
from services.db.tables.outreach import campaign_lanes, campaigns
from services.db.tables.outreach import templates as template_rows
from services.errors import NotFound
from services.outreach.campaign_rules import Pacing


class CampaignState(StrEnum):
    """Where a campaign is, as it is stored."""

    DRAFT = "draft"
    ACTIVE = "active"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    ENDED = "ended"


OPEN_STATES = (CampaignState.ACTIVE, CampaignState.PAUSED)


class RecipientState(StrEnum):
    """Where a recipient is."""

    WAITING = "waiting"
    RELEASED = "released"  # its message says what became of it
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Campaign:
    """A campaign as its owner sees it. `template` is the template's name now; the version is pinned."""

    id: UUID
    name: str
    state: CampaignState
    template_id: UUID
    template_version: int
    template: str | None
    pacing: Pacing
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


def get_campaign(actor: Actor, campaign_id: UUID) -> Campaign:
    """One of the actor's campaigns.

    Raises: NotFound, also where it is somebody else's.
    """
    with transaction(actor) as tx:
        return require_campaign(tx, require_owner(actor), campaign_id)


def require_owner(actor: Actor) -> UUID:
    """The actor's user id, as the owner of campaigns.

    Raises: Forbidden where the actor is no signed-in user.
    """
    return actor.require_user("only a signed-in user has campaigns")


def is_lane_of(user_id: UUID) -> ColumnElement[bool]:
    """The condition for the campaign lane of a user."""
    return campaign_lanes.c.user_id == user_id


def get_lane(tx: Connection, user_id: UUID) -> Record | None:
    """The row of a user's campaign lane, or None."""
    return tx.execute(select(campaign_lanes).where(is_lane_of(user_id))).one_or_none()


def list_active(tx: Connection, user_id: UUID, *, locked: bool = False) -> list[Campaign]:
    """The sender's campaigns that are under way; `locked` against pause and cancel."""
    wanted = select_campaigns().where(campaigns.c.user_id == user_id, campaigns.c.state == CampaignState.ACTIVE)
    rows = tx.execute(wanted.with_for_update(of=campaigns) if locked else wanted).all()
    return [build_campaign(row) for row in rows]


def require_campaign(tx: Connection, user_id: UUID, campaign_id: UUID) -> Campaign:
    """Reads one campaign of a user.

    Raises: NotFound, also where it is somebody else's.
    """
    row = tx.execute(
        select_campaigns().where(campaigns.c.id == campaign_id, campaigns.c.user_id == user_id)
    ).one_or_none()
    if row is None:
        raise NotFound(f"campaign {campaign_id}")
    return build_campaign(row)


def select_campaigns() -> Select[Any]:
    """The query for campaigns with the present names of their templates."""
    return select(campaigns, template_rows.c.name.label("template")).outerjoin(
        template_rows, template_rows.c.id == campaigns.c.template_id
    )


def build_campaign(row: Record) -> Campaign:
    """The campaign of a row of `select_campaigns`."""
    return read_row(Campaign, row, pacing=read_row(Pacing, row))
