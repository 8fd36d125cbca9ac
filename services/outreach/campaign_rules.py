"""The pacing rules of a campaign: the installation's limits, the warm-up of a number, and the usage of a day.

A campaign may be more careful than the installation's limits, never less.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, func, select

from services import settings
from services.db.rows import read_row
from services.db.tables.base import Record
from services.db.tables.fleet import session_timeline
from services.db.tables.fleet import sessions as session_rows
from services.db.tables.outreach import campaigns
from services.errors import N_, InvalidInput
from services.fleet import session
from services.messaging.pace import Pace
from services.outreach.pacing import Rules, Sender, Usage, Warmup
from services.outreach.restriction import UNRESTRICTED, Restriction
from services.platform import local_time
from services.wppconnect.phone import get_address_key


class OutsideLimits(InvalidInput):
    """A campaign's rules are looser than the installation's, or admit nothing."""

    code = "fora_dos_limites"
    message = N_("O ritmo passa dos limites desta instalação.")
    hint = N_("Fique dentro do horário, do limite por dia e do intervalo mostrados ao lado dos campos.")


@dataclass(frozen=True)
class Pacing:
    """What one campaign keeps to; no looser than the installation's own (`get_limits`). See `pacing.Rules`."""

    opens: time
    closes: time
    cap: int
    cold_share: float
    pace: float


def get_limits() -> Pacing:
    """How far the installation lets a campaign go; also what a new one begins with."""
    configured = settings.get().campaigns
    return Pacing(
        opens=configured.opens,
        closes=configured.closes,
        cap=configured.daily_cap,
        cold_share=configured.cold_share,
        pace=configured.pace_seconds,
    )


def build_rules(pacing: Pacing, zone: str, warmup_started_at: datetime | None) -> Rules:
    """The rules of one campaign for its sender's time zone; `warmup_started_at` is when the number's warm-up began."""
    configured = settings.get().campaigns
    warmup = Warmup(configured.warmup_days, configured.warmup_first)
    return Rules(
        zone, pacing.opens, pacing.closes, pacing.cap, pacing.cold_share, pacing.pace, warmup, warmup_started_at
    )


def require_within_limits(pacing: Pacing) -> None:
    """A campaign may be more careful than the installation, never less.

    Raises: OutsideLimits.
    """
    most = get_limits()
    closes, latest = (_closing_minute(one.closes) for one in (pacing, most))
    late = (
        closes > latest or pacing.opens < most.opens or (closes != 24 * 60 and _closing_minute(pacing.opens) >= closes)
    )
    wrong = late or not 0 < pacing.cap <= most.cap or not 0 <= pacing.cold_share <= most.cold_share
    if wrong or not most.pace <= pacing.pace <= 24 * 3600:
        raise OutsideLimits("a campaign's rules are looser than the installation's, or admit nothing")


def _closing_minute(moment: time) -> int:
    """In minutes; closing at 00:00 is the end of the day."""
    return moment.hour * 60 + moment.minute or 24 * 60


def get_warmup_start(tx: Connection, user_id: UUID, lane: Record | None) -> datetime | None:
    """Since when the number that is connected now has been so; another number begins anew."""
    row = tx.execute(
        select(session_rows.c.id, session_rows.c.phone_number, session_rows.c.connected_at).where(
            session_rows.c.user_id == user_id
        )
    ).one_or_none()
    if row is None:
        return None
    if lane is not None and lane.warmup_started_at is not None:
        if row.phone_number is None or is_same_line(row.phone_number, lane.phone_number):
            known: datetime = lane.warmup_started_at
            return known
        return row.connected_at or datetime.now(UTC)
    first: datetime | None = tx.execute(
        select(func.min(session_timeline.c.occurred_at)).where(
            session_timeline.c.session_id == row.id, session_timeline.c.action == session.Status.CONNECTED
        )
    ).scalar_one()
    return first or row.connected_at


def is_same_line(phone: str, other: str | None) -> bool:
    """Whether two numbers (digits) are one line, however they are spelt."""
    return other is not None and get_address_key(phone) == get_address_key(other)


def read_sender(tx: Connection, user_id: UUID, lane: Record | None, zone: str, now: datetime) -> Sender:
    """What a user's session has behind it at `now`, by its campaign lane; as new where there is none."""
    today = local_time.to_local(now, zone).date()
    # A clock that was put back must not make a number rest for longer than its longest gap.
    available_at = min(lane.available_at, now + _get_longest_gap(tx, user_id)) if lane is not None else now
    restriction = read_row(Restriction, lane) if lane is not None else UNRESTRICTED
    return Sender(available_at, {today: get_usage(tx, user_id, today, zone)}, restriction)


def _get_longest_gap(tx: Connection, user_id: UUID) -> timedelta:
    """Counts ended campaigns too: the message that the number rests from may have been the last of one."""
    pace = tx.execute(
        select(func.max(campaigns.c.pace)).where(campaigns.c.user_id == user_id, campaigns.c.started_at.is_not(None))
    ).scalar_one()
    return Pace(pace or 0).longest_gap


def get_usage(tx: Connection, user_id: UUID, day: date, zone: str) -> Usage:
    """Counts the recipients that campaigns released by the user's number on a day of `zone`, and the cold ones of them.

    WhatsApp counts by number: also what another session of the same number released counts.
    """
    since, until = local_time.day_start(day, zone), local_time.day_start(day + timedelta(days=1), zone)
    counted = func.app.count_number_usage(user_id, since, until).table_valued("total", "cold")
    return read_row(Usage, tx.execute(select(counted)).one())


def pacing_columns(pacing: Pacing) -> dict[str, Any]:
    """The columns of a campaign's row that hold its pacing."""
    return {
        "opens": pacing.opens,
        "closes": pacing.closes,
        "cap": pacing.cap,
        "cold_share": pacing.cold_share,
        "pace": pacing.pace,
    }
