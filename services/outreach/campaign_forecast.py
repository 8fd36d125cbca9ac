"""What a sender's campaigns wait for now, and when a campaign will end.

A forecast takes the steps of the pacing (`pacing.next_step`) one after the other with a simulated clock. Of these
`simulate` and `forecast` are pure: no database, no clock.
"""

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, select

from services.db.actor import Actor
from services.db.engine import transaction
from services.db.rows import read_row
from services.db.tables.outreach import campaign_lanes, campaign_recipients
from services.outreach.campaign_rules import Pacing, build_rules, get_warmup_start, read_sender
from services.outreach.campaign_state import RecipientState, get_lane, list_active, require_campaign, require_owner
from services.outreach.pacing import QueueHead, Release, Rules, Sender, Wait, WaitReason, next_step, turn_order
from services.platform import local_time

# A forecast that runs longer than this is told as "later than".
FORECAST_HORIZON = timedelta(days=400)


@dataclass(frozen=True)
class Queue:
    """A campaign as far as a forecast goes: its rules and who waits, in order, each with whether they are cold."""

    campaign_id: UUID
    started_at: datetime
    rules: Rules
    waiting: Sequence[tuple[int, bool]]


@dataclass(frozen=True)
class Forecast:
    """What will become of a campaign if nothing happens to it.

    `over_today`: how many of those that are left must wait for another day because today's allowance is used up;
    `ends_at` is None where it cannot end, or not within 400 days. `days` counts its messages by day of its zone.
    """

    total: int
    starts_at: datetime | None
    ends_at: datetime | None
    over_today: int
    days: Mapping[date, int]


@dataclass(frozen=True)
class PacingStatus:
    """What a sender's campaigns wait for, and until when.

    Since `restricted_at` WhatsApp refuses their messages to strangers; at `probe_at` one tries again. Both are None
    while there is no restriction.
    """

    time_zone: str
    waiting_reason: WaitReason | None
    next_check_at: datetime | None
    restricted_at: datetime | None
    probe_at: datetime | None


def get_pacing_status(actor: Actor) -> PacingStatus | None:
    """What the actor's campaigns wait for; None where none was ever confirmed."""
    with transaction(actor) as tx:
        row = tx.execute(select(campaign_lanes).where(campaign_lanes.c.user_id == actor.user_id)).one_or_none()
    return read_row(PacingStatus, row) if row is not None else None


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
        queues = [
            Queue(
                one.id,
                one.started_at or moment,
                build_rules(pacing if pacing and one.id == campaign_id else one.pacing, zone, warmup_started_at),
                _list_waiting(tx, one.id),
            )
            for one in [*others, asked]
        ]
        sender = read_sender(tx, user_id, lane, zone, moment)
    return forecast(queues, campaign_id, moment, sender)


def forecast(queues: Sequence[Queue], campaign_id: UUID, now: datetime, sender: Sender) -> Forecast:
    """What will become of one of a sender's `queues` beside the others."""
    queues = sorted(queues, key=lambda queue: turn_order(queue.started_at, queue.campaign_id))
    place = next(number for number, queue in enumerate(queues) if queue.campaign_id == campaign_id)
    asked = queues[place]
    mine = [release for release in simulate(queues, now, sender) if release.campaign_id == campaign_id]
    total, today = len(asked.waiting), local_time.to_local(now, asked.rules.zone).date()
    before = sender.used_on(today).total + sum(len(queue.waiting) for queue in queues[:place])
    room = max(asked.rules.allowance(today) - before, 0)
    return Forecast(
        total=total,
        starts_at=mine[0].at if mine else None,
        ends_at=mine[-1].at if mine and len(mine) == total else None,
        over_today=max(total - room, 0),
        days=dict(sorted(Counter(release.day for release in mine).items())),
    )


def simulate(queues: Sequence[Queue], now: datetime, sender: Sender) -> Iterator[Release]:
    """Every release to come of a sender's campaigns, as the worker will do them if all of it is delivered; campaigns
    share their zone.
    """
    lines = {queue.campaign_id: _SimulatedQueue(queue) for queue in queues}
    horizon = now + FORECAST_HORIZON
    while now < horizon:
        step = next_step([line.head() for line in lines.values()], now, sender)
        if step is None:
            return
        if isinstance(step, Wait):
            now = step.until
            continue
        lines[step.campaign_id].drop(step)
        sender = sender.after(step).after_delivery(step)
        yield step


class _SimulatedQueue:
    """Who waits in one campaign."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._warm = deque(seq for seq, cold in queue.waiting if not cold)
        self._cold = deque(seq for seq, cold in queue.waiting if cold)

    def head(self) -> QueueHead:
        """Who is first."""
        warm, cold = (line[0] if line else None for line in (self._warm, self._cold))
        return QueueHead(self._queue.campaign_id, self._queue.started_at, self._queue.rules, warm, cold)

    def drop(self, release: Release) -> None:
        """Takes out whom `release` went to."""
        (self._cold if release.cold else self._warm).popleft()


def _list_waiting(tx: Connection, campaign_id: UUID) -> list[tuple[int, bool]]:
    rows = tx.execute(
        select(campaign_recipients.c.seq, campaign_recipients.c.cold)
        .where(campaign_recipients.c.campaign_id == campaign_id, campaign_recipients.c.state == RecipientState.WAITING)
        .order_by(campaign_recipients.c.retries, campaign_recipients.c.seq)
    )
    return [(row.seq, row.cold) for row in rows]
