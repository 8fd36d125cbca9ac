"""The worker's part of campaigns: it releases one message after the other into the send queues.

The sender's number and the row of its lane are locked while a message is released, so any number of workers releases
one message at a time for each number, whose sessions may be several. The recipient's own key queues its message once,
even if a worker dies.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection, Select, and_, func, or_, select, update

from services.contacts import opt_outs
from services.db import queries
from services.db.actor import SYSTEM
from services.db.engine import transaction
from services.db.tables.base import Record
from services.db.tables.contacts import contacts
from services.db.tables.fleet import sessions as session_rows
from services.db.tables.messaging import lanes
from services.db.tables.messaging import messages as message_rows
from services.db.tables.outreach import campaign_lanes, campaign_recipients, campaigns
from services.errors import ServiceError
from services.fleet import session
from services.messaging import outbox
from services.messaging.content import Content, Origin
from services.messaging.state import State
from services.outreach import template_content, templates
from services.outreach.campaign_restriction import count_outcomes, store_restriction
from services.outreach.campaign_rules import build_rules, get_warmup_start, is_same_line, read_sender
from services.outreach.campaign_state import Campaign, CampaignState, RecipientState, is_lane_of, list_active
from services.outreach.pacing import QueueHead, Release, Rules, WaitReason, next_step, release_key
from services.outreach.restriction import UNRESTRICTED, Restriction
from services.wppconnect.phone import list_spellings

_QUERIES = queries.load(__file__)

log = structlog.get_logger(__name__)
# A worker that dies leaves the lane that it had claimed to the next one after this long. One that is only slow
# keeps it: it holds the row's lock.
LEASE = timedelta(seconds=5)
# While a session is down, stopped or behind with its messages, it is asked again this often.
RETRY_AFTER = timedelta(seconds=2)
# Nothing more is released while this many of a session's campaigns' messages are still queued.
MAX_BACKLOG = 2
# How many that must be skipped are looked at in one transaction.
MAX_SKIPS = 200


def step(now: datetime | None = None) -> int:
    """Take back what was cancelled and release what may leave; returns how much was looked at."""
    moment = now or datetime.now(UTC)
    swept = _finish_cancelled()
    with transaction(SYSTEM) as tx:
        claimed = tx.execute(_CLAIM_LANES, {"now": moment, "leased": moment + LEASE}).all()
    for row in claimed:
        _release_next(row.user_id, row.next_check_at, moment)
    return swept + len(claimed)


def next_due_in() -> float | None:
    """Seconds until the worker must look again, None while no campaign is under way and nothing is to be counted."""
    with transaction(SYSTEM) as tx:
        moment = tx.execute(_NEXT_DUE).scalar_one()
    return None if moment is None else max((moment - datetime.now(UTC)).total_seconds(), 0.0)


def _finish_cancelled() -> int:
    """End cancelled campaigns: who waits is cancelled, and so is what is queued. What has begun to leave is not."""
    with transaction(SYSTEM) as tx:
        found = tx.execute(_CLAIM_CANCELLED).scalars().all()
        for campaign_id in found:
            tx.execute(_CANCEL_QUEUED, {"campaign": campaign_id})
            tx.execute(_CANCEL_WAITING, {"campaign": campaign_id})
    return len(found)


def _release_next(user_id: UUID, leased: datetime, now: datetime) -> None:
    """Release the next message of one sender, or note what it waits for."""
    with transaction(SYSTEM) as tx:
        tx.execute(_LOCK_NUMBER, {"user": user_id})
        lane = tx.execute(_select_locked_lane(user_id, leased)).one_or_none()
        if lane is None:
            return  # its owner changed something meanwhile: it will be looked at anew
        restriction = count_outcomes(tx, user_id, lane, now)
        under_way = list_active(tx, user_id, locked=True)
        if not under_way:
            _set_wait(tx, user_id, restriction.forgotten_at, None)
            return
        hindrance = _blocking_reason(tx, lane, [one.id for one in under_way])
        if hindrance is not None:
            _set_wait(tx, user_id, now + RETRY_AFTER, hindrance)
            return
        found = _release_message(tx, lane, restriction, under_way, now)
        _set_wait(tx, user_id, *found)


def _blocking_reason(tx: Connection, lane: Record, campaign_ids: Sequence[UUID]) -> WaitReason | None:
    """Why nothing can leave now, whatever the pacing says."""
    if lane.status != session.Status.CONNECTED or lane.settling_since is not None:
        return WaitReason.DISCONNECTED
    if lane.stopped_at is not None:
        return WaitReason.STOPPED
    queued = select(message_rows.c.id).where(
        message_rows.c.campaign_id.in_(campaign_ids), message_rows.c.state == State.QUEUED
    )
    return WaitReason.BACKLOG if len(tx.execute(queued.limit(MAX_BACKLOG)).all()) == MAX_BACKLOG else None


def _release_message(
    tx: Connection, lane: Record, restriction: Restriction, under_way: Sequence[Campaign], now: datetime
) -> tuple[datetime | None, WaitReason | None]:
    """Take the pacing's next step; returns when to look again, and what is waited for until then."""
    warmup_started_at = get_warmup_start(tx, lane.user_id, lane)
    if lane.number is not None and not is_same_line(lane.number, lane.phone_number):
        _change_lane(tx, lane.user_id, phone_number=lane.number, warmup_started_at=warmup_started_at)
        restriction = UNRESTRICTED  # WhatsApp restricts a number, and this is another one
        store_restriction(tx, lane.user_id, restriction)
    sender = replace(read_sender(tx, lane.user_id, lane, lane.time_zone, now), restriction=restriction)
    if sender.available_at < lane.available_at:
        _change_lane(tx, lane.user_id, available_at=sender.available_at)
    by_id = {campaign.id: campaign for campaign in under_way}
    rules = {one.id: build_rules(one.pacing, lane.time_zone, warmup_started_at) for one in under_way}
    for _number in range(MAX_SKIPS):
        heads = _read_heads(tx, under_way, rules, now)
        step = next_step(heads, now, sender)
        if not isinstance(step, Release):
            _end_empty(tx, heads)
            return (step.until, step.why) if step is not None else (None, None)
        if _queue_recipient(tx, lane, by_id[step.campaign_id], step.seq, now):
            _change_lane(tx, lane.user_id, available_at=step.rested_at)
            after = sender.after(step).restriction
            if after != restriction:
                store_restriction(tx, lane.user_id, after)
            tx.execute(_REST_NUMBER, {"session": lane.session_id, "user": lane.user_id, "until": step.rested_at})
            _end_empty(tx, _read_heads(tx, under_way, rules, now))
            return step.rested_at, WaitReason.PACE
    return now, None


def _read_heads(
    tx: Connection, under_way: Sequence[Campaign], rules: Mapping[UUID, Rules], now: datetime
) -> list[QueueHead]:
    """Who is first in each campaign."""
    rows = {row.campaign_id: row for row in tx.execute(_FIRST_WAITING, {"campaigns": list(rules)})}
    return [
        QueueHead(one.id, one.started_at or now, rules[one.id], rows[one.id].warm, rows[one.id].cold)
        for one in under_way
    ]


def _queue_recipient(tx: Connection, lane: Record, campaign: Campaign, seq: int, now: datetime) -> bool:
    """Queue one recipient's message; False where they are skipped instead."""
    one = and_(campaign_recipients.c.campaign_id == campaign.id, campaign_recipients.c.seq == seq)
    row = tx.execute(select(campaign_recipients).where(one)).one()
    reason, content = _prepare_content(tx, lane.user_id, campaign, row)
    if content is None:
        tx.execute(update(campaign_recipients).where(one).values(state=RecipientState.SKIPPED, reason=reason))
        return False
    origin = Origin(campaign.template_id, campaign.template_version, campaign_id=campaign.id, cold=row.cold)
    # One who waits again gets another message: the earlier one certainly did not leave.
    key = release_key(campaign.id, seq) + (f":{row.retries}" if row.retries else "")
    put = outbox.queue_in_transaction(
        tx, lane.user_id, lane.session_id, row.phone, content, key, row.name, origin=origin
    )
    tx.execute(
        update(campaign_recipients).where(one).values(state=RecipientState.RELEASED, message_id=put.id, released_at=now)
    )
    log.info("campaign_released", campaign=str(campaign.id), seq=seq, message=str(put.id))
    return True


def _prepare_content(
    tx: Connection, user_id: UUID, campaign: Campaign, row: Record
) -> tuple[str | None, Content | None]:
    """What a recipient gets, or why nothing: looked at again at the last moment."""
    if opt_outs.find_opted_out(tx, user_id, [row.phone]):
        return "opted_out", None
    if tx.execute(_select_blocked(user_id, row.phone)).scalar() is not None:
        return "blocked", None
    try:
        template = templates.read_template(tx, campaign.template_id, campaign.template_version)
        content = template_content.render(template, row.variables)
    except ServiceError as error:
        log.warning("campaign_not_rendered", campaign=str(campaign.id), seq=row.seq, error=type(error).__name__)
        return "content", None
    if content.media is not None:
        content = replace(content, media=replace(content.media, user_id=user_id))
    return None, content


def _end_empty(tx: Connection, heads: Sequence[QueueHead]) -> None:
    """Ends the campaigns in which nobody waits any more."""
    empty = [head.campaign_id for head in heads if head.warm is None and head.cold is None]
    if not empty:
        return
    ended = {"state": CampaignState.ENDED, "ended_at": func.now(), "updated_at": func.now()}
    tx.execute(update(campaigns).where(campaigns.c.id.in_(empty)).values(**ended))


def _change_lane(tx: Connection, user_id: UUID, **values: Any) -> None:
    tx.execute(update(campaign_lanes).where(is_lane_of(user_id)).values(**values))


def _set_wait(tx: Connection, user_id: UUID, next_check_at: datetime | None, why: WaitReason | None) -> None:
    """The page is notified only where what is waited for changes."""
    _change_lane(tx, user_id, next_check_at=next_check_at)
    tx.execute(
        update(campaign_lanes)
        .where(is_lane_of(user_id), campaign_lanes.c.waiting_reason.is_distinct_from(why))
        .values(waiting_reason=why)
    )


_CLAIM_LANES = _QUERIES["claim_lanes"]
_NEXT_DUE = _QUERIES["next_due"]
_LOCK_NUMBER = _QUERIES["lock_number"]
_REST_NUMBER = _QUERIES["rest_number"]
_FIRST_WAITING = _QUERIES["first_waiting"]
_CLAIM_CANCELLED = _QUERIES["claim_cancelled"]
_CANCEL_QUEUED = _QUERIES["cancel_queued"]
_CANCEL_WAITING = _QUERIES["cancel_waiting"]


def _select_locked_lane(user_id: UUID, leased: datetime) -> Select[Any]:
    """A sender's lane, locked, with their session."""
    return (
        select(
            campaign_lanes,
            session_rows.c.id.label("session_id"),
            session_rows.c.status,
            session_rows.c.settling_since,
            session_rows.c.phone_number.label("number"),
            lanes.c.stopped_at,
        )
        .outerjoin(session_rows, session_rows.c.user_id == campaign_lanes.c.user_id)
        .outerjoin(lanes, lanes.c.session_id == session_rows.c.id)
        .where(is_lane_of(user_id), campaign_lanes.c.next_check_at == leased)
        .with_for_update(of=campaign_lanes)
    )


def _select_blocked(user_id: UUID, phone: str) -> Select[Any]:
    """Since when somebody is blocked; who has not been met by the session's present number, as by an earlier one."""
    return (
        select(contacts.c.blocked_at)
        .where(
            contacts.c.session_id
            == select(session_rows.c.id).where(session_rows.c.user_id == user_id).scalar_subquery(),
            or_(contacts.c.phone.in_(list_spellings(phone)), contacts.c.lid == phone),
        )
        .order_by(contacts.c.of_number.is_not(None), contacts.c.blocked_at)
        .limit(1)
    )
