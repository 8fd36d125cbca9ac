"""What a sender's campaigns wait for now, and when a campaign will end."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, select

from services.db.actor import Actor
from services.db.engine import transaction
from services.db.tables.outreach import campaign_lanes, campaign_recipients
from services.outreach.campaign_rules import Pacing, build_rules, get_usage, get_warmup_start
from services.outreach.campaign_state import RecipientState, get_lane, list_active, require_campaign, require_owner
from services.outreach.pacing import JITTER, Forecast, Queue, WaitReason, forecast
from services.platform import local_time


@dataclass(frozen=True)
class PacingStatus:
    """What a sender's campaigns wait for, and until when."""

    zone: str
    why: WaitReason | None
    next_check_at: datetime | None


def get_pacing_status(actor: Actor) -> PacingStatus | None:
    """What the actor's campaigns wait for; None where none was ever confirmed."""
    with transaction(actor) as tx:
        row = tx.execute(select(campaign_lanes).where(campaign_lanes.c.user_id == actor.user_id)).one_or_none()
    return (
        PacingStatus(row.time_zone, WaitReason(row.waiting_reason) if row.waiting_reason else None, row.next_check_at)
        if row is not None
        else None
    )


def forecast_campaign(
    actor: Actor, campaign_id: UUID, zone: str, pacing: Pacing | None = None, now: datetime | None = None
) -> Forecast:
    """What will become of a campaign beside the actor's other ones, by the pacing that releases it.

    `pacing` tries other rules on it.

    Raises: NotFound.
    """
    user_id, moment = require_owner(actor), now or datetime.now(UTC)
    with transaction(actor) as tx:
        asked = require_campaign(tx, user_id, campaign_id)
        others = [one for one in list_active(tx, user_id) if one.id != campaign_id]
        lane = get_lane(tx, user_id)
        warmup_started_at = get_warmup_start(tx, user_id, lane)
        place = sorted([*others, asked], key=lambda one: (one.started_at or moment, one.id))
        queues = [
            Queue(
                one.id,
                build_rules(pacing if pacing and one.id == campaign_id else one.pacing, zone, warmup_started_at),
                _list_waiting(tx, one.id),
            )
            for one in place
        ]
        today = local_time.to_local(moment, zone).date()
        spent = {today: get_usage(tx, user_id, today, zone)}
    available_at = min(lane.available_at, moment + _longest_gap(queues)) if lane is not None else moment
    return forecast(queues, campaign_id, moment, available_at, spent)


def _longest_gap(queues: Sequence[Queue]) -> timedelta:
    return timedelta(seconds=max(queue.rules.pace for queue in queues) * JITTER[1])


def _list_waiting(tx: Connection, campaign_id: UUID) -> list[tuple[int, bool]]:
    rows = tx.execute(
        select(campaign_recipients.c.seq, campaign_recipients.c.cold)
        .where(campaign_recipients.c.campaign_id == campaign_id, campaign_recipients.c.state == RecipientState.WAITING)
        .order_by(campaign_recipients.c.seq)
    )
    return [(row.seq, row.cold) for row in rows]
