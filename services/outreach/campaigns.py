"""Campaigns: one version of a template is sent to many recipients, one by one, as the pacing rules allow.

This module holds what a campaign's owner does: create, confirm, pause, change the pacing, cancel. The worker's part is
`campaign_release`.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, and_, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from services import settings
from services.db import queries
from services.db.actor import Actor
from services.db.engine import transaction
from services.db.tables.fleet import sessions as session_rows
from services.db.tables.outreach import campaign_lanes, campaigns
from services.errors import Conflict, InvalidInput, NotFound
from services.messaging.content import Content
from services.outreach import templates
from services.outreach.campaign_progress import CampaignProgress, count_progress
from services.outreach.campaign_rules import Pacing, get_limits, get_warmup_start, pacing_columns, require_within_limits
from services.outreach.campaign_state import (
    OPEN_STATES,
    Campaign,
    CampaignState,
    build_campaign,
    get_lane,
    is_lane_of,
    require_campaign,
    require_owner,
    select_campaigns,
)
from services.outreach.errors import EmptyList, ListTooLong
from services.outreach.recipients import Recipient
from services.outreach.template_content import Template
from services.platform import local_time
from services.wppconnect.phone import list_spellings

_QUERIES = queries.load(__file__)

NAME_LIMIT = 80
MAX_RECIPIENTS = 20_000


def create(
    actor: Actor,
    name: str,
    template: Template,
    recipients: Sequence[Recipient],
    pacing: Pacing | None = None,
    key: UUID | None = None,
) -> Campaign:
    """Make a draft with everybody of `recipients` who is sendable, in their order; the same `key` makes one.

    Raises: EmptyList where nobody is, ListTooLong, OutsideLimits, InvalidInput for a name of no or over 80 characters,
        and what `templates.with_own_file` raises.
    """
    user_id = require_owner(actor)
    chosen = pacing or get_limits()
    require_within_limits(chosen)
    name = name.strip()
    if not 0 < len(name) <= NAME_LIMIT or "\x00" in name:
        raise InvalidInput("a campaign's name has 1 to 80 characters")
    to = _unique_sendable(recipients)
    # A message carries only what is its sender's.
    templates.with_own_file(actor, Content(template.kind, media=template.media))
    with transaction(actor) as tx:
        campaign_id = key or uuid4()
        made = (
            insert(campaigns)
            .values(
                id=campaign_id,
                user_id=user_id,
                name=name,
                template_id=template.id,
                template_version=template.version,
                **pacing_columns(chosen),
            )
            .on_conflict_do_nothing()
            .returning(campaigns.c.id)
        )
        if tx.execute(made).first() is not None:
            tx.execute(_ENROL, _enrolment_values(user_id, campaign_id, to))
        return require_campaign(tx, user_id, campaign_id)


def list_campaigns(
    actor: Actor, limit: int = 100, before: tuple[datetime, UUID] | None = None
) -> list[tuple[Campaign, CampaignProgress]]:
    """The actor's campaigns, newest first, each with how far it is; only those after the place `before`."""
    order = (campaigns.c.created_at, campaigns.c.id)
    wanted = select_campaigns().where(campaigns.c.user_id == actor.user_id)
    if before is not None:
        wanted = wanted.where(tuple_(*order) < tuple_(*before))
    with transaction(actor) as tx:
        rows = tx.execute(wanted.order_by(*(column.desc() for column in order)).limit(limit)).all()
        far = count_progress(tx, [row.id for row in rows])
    return [(build_campaign(row), far[row.id]) for row in rows]


def set_pacing(actor: Actor, campaign_id: UUID, pacing: Pacing) -> Campaign:
    """Change what a campaign keeps to, from its next message on.

    Raises: NotFound, Conflict, OutsideLimits.
    """
    require_within_limits(pacing)
    with transaction(actor) as tx:
        _request_check(tx, require_owner(actor))
        _change_state(tx, actor, campaign_id, (CampaignState.DRAFT, *OPEN_STATES), **pacing_columns(pacing))
        return require_campaign(tx, require_owner(actor), campaign_id)


def confirm(actor: Actor, campaign_id: UUID, zone: str) -> Campaign:
    """Begin a draft. Days and hours are those of `zone`, from now on for all of the actor's campaigns.

    Raises: NotFound, and Conflict where it has begun.
    """
    user_id = require_owner(actor)
    local_time.require_zone(zone)
    with transaction(actor) as tx:
        _change_state(
            tx,
            actor,
            campaign_id,
            (CampaignState.DRAFT,),
            state=CampaignState.ACTIVE,
            started_at=func.clock_timestamp(),
        )
        young = get_warmup_start(tx, user_id, get_lane(tx, user_id))
        number = tx.execute(select(session_rows.c.phone_number).where(session_rows.c.user_id == user_id)).scalar()
        values = {
            "time_zone": zone,
            "next_check_at": datetime.now(UTC),
            "phone_number": number,
            "warmup_started_at": young,
        }
        tx.execute(
            insert(campaign_lanes)
            .values(user_id=user_id, **values)
            .on_conflict_do_update(index_elements=["user_id"], set_=values)
        )
        return require_campaign(tx, user_id, campaign_id)


def set_paused(actor: Actor, campaign_id: UUID, *, on: bool) -> Campaign:
    """Hold a campaign at once, or let it go on.

    Raises: NotFound, and Conflict where it is not under way or held.
    """
    before, after = (CampaignState.ACTIVE, CampaignState.PAUSED) if on else (CampaignState.PAUSED, CampaignState.ACTIVE)
    with transaction(actor) as tx:
        _request_check(tx, require_owner(actor))
        _change_state(tx, actor, campaign_id, (before,), state=after)
        return require_campaign(tx, require_owner(actor), campaign_id)


def pause_all(actor: Actor) -> int:
    """Hold all of the actor's campaigns that are under way at once; returns how many."""
    user_id = require_owner(actor)
    under_way = and_(campaigns.c.user_id == user_id, campaigns.c.state == CampaignState.ACTIVE)
    with transaction(actor) as tx:
        _request_check(tx, user_id)
        paused = {"state": CampaignState.PAUSED, "updated_at": func.now()}
        return int(tx.execute(update(campaigns).where(under_way).values(**paused)).rowcount)


def cancel(actor: Actor, campaign_id: UUID) -> Campaign:
    """End a campaign: nobody else is written to, and what is queued is taken back if it has not begun to leave.

    Raises: NotFound, and Conflict where it has ended.
    """
    with transaction(actor) as tx:
        _change_state(
            tx,
            actor,
            campaign_id,
            (CampaignState.DRAFT, *OPEN_STATES),
            state=CampaignState.CANCELLED,
            ended_at=func.now(),
        )
        return require_campaign(tx, require_owner(actor), campaign_id)


_ENROL = _QUERIES["enrol"]


def _unique_sendable(recipients: Sequence[Recipient]) -> list[Recipient]:
    """Who can be sent to, each line once."""
    found: dict[str, Recipient] = {}
    for one in recipients:
        if one.sendable and one.phone:
            found.setdefault(min(list_spellings(one.phone)), one)
    if not found:
        raise EmptyList("nobody to send to")
    if len(found) > MAX_RECIPIENTS:
        raise ListTooLong(f"{len(found)} recipients", limit=MAX_RECIPIENTS)
    return list(found.values())


def _enrolment_values(user_id: UUID, campaign_id: UUID, to: Sequence[Recipient]) -> dict[str, Any]:
    rows = [
        {
            "seq": seq,
            "phone": one.phone,
            "twin": list_spellings(one.phone or "")[-1],
            "name": one.name,
            "variables": dict(one.values),
        }
        for seq, one in enumerate(to, 1)
    ]
    days = settings.get().campaigns.cold_days
    return {"campaign": campaign_id, "user": user_id, "days": days, "rows": json.dumps(rows)}


def _change_state(
    tx: Connection, actor: Actor, campaign_id: UUID, expected: Sequence[CampaignState], **values: Any
) -> None:
    """Compare and swap of a campaign's state.

    Raises: NotFound, Conflict.
    """
    mine = and_(campaigns.c.id == campaign_id, campaigns.c.user_id == actor.user_id)
    changed = update(campaigns).where(mine, campaigns.c.state.in_(expected)).values(updated_at=func.now(), **values)
    if not tx.execute(changed).rowcount:
        if tx.execute(select(campaigns.c.id).where(mine)).first() is None:
            raise NotFound(f"campaign {campaign_id}")
        raise Conflict(f"campaign {campaign_id} is in another state")


def _request_check(tx: Connection, user_id: UUID) -> None:
    """The worker looks at the sender's campaigns now. Called before a campaign is touched: the release locks so too."""
    tx.execute(update(campaign_lanes).where(is_lane_of(user_id)).values(next_check_at=datetime.now(UTC)))
