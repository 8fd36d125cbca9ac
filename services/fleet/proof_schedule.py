"""When which session is to prove that it is alive, and about which number WhatsApp is asked.

About whom. WhatsApp minds questions about strangers, so no number is made up or bought:
1. `HEALTH_NUMBERS`: the operator's own numbers, which nobody has saved as a contact.
2. Other sessions of this installation: they exist and are ours. A session that has talked with one is not asked about
   it, because it may be a contact. Their owners see nothing of it, and only the worker reads the table.
3. A number whose question or check went unanswered before: the browser did not answer it, so it is no contact.
4. Numbers to which the session itself has written, with an acknowledgement. They may be contacts: no answer convicts,
   an answer proves nothing.

How often. A quiet session is asked at most `health.asks_per_day` times a day. The questions of one server are spread
evenly: with n quiet sessions there is one question each day ÷ (n × asks), for 100 sessions and 3 asks 288 s. So a
server that has lost WhatsApp is found within that time, and a session that died alone at its own next question.

A suspect is asked at once, beyond that budget and within limits of its own:
- a send, a number check or an acknowledgement of the session hangs;
- another session of its server was found dead, until three neighbours have answered;
- it was found dead itself: ever more seldom.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import Connection, text

from services import settings
from services.db import queries
from services.db.actor import SYSTEM
from services.db.engine import transaction
from services.db.rows import read_row
from services.db.tables.base import Record

_QUERIES = queries.load(__file__)

DAY_SECONDS = 86_400.0
# A suspect is asked again no sooner than this, however much of its hangs.
SUSPECT_PAUSE_SECONDS = 60.0
# A number check that has not come back after this hangs: a client gives up after 13 s (`wppconnect.client.Timeouts`).
HANGING_CHECK_SECONDS = 14.0
# One found dead is asked again after this, and then ever later: after a quarter of the time since it was found.
DEAD_PAUSE_SECONDS = 600.0
# So many neighbours that answer show that a server's way to WhatsApp is open.
NEIGHBOURS_TO_ASK = 3


class Reason(StrEnum):
    """Why it is asked."""

    QUIET = "quiet"  # nothing came for long, of it or of its whole server
    SUSPECT = "suspect"  # something of its hangs, or it came up unannounced
    NEIGHBOUR = "neighbour"  # another session of its server was found dead
    AGAIN = "again"  # it was found dead: is it back?


@dataclass(frozen=True)
class Question:
    """One question as it is to be put. `phone` is None where there is nobody to ask about; `hung` counts the sends that
    have run into their time-out since the last proof."""

    session_id: UUID
    name: str
    server_url: str
    attempt: datetime | None
    reason: Reason
    hung: int
    id: int | None = None
    phone: str | None = None
    certain: bool = False


def claim_due() -> list[Question]:
    """Claim the sessions that are to be asked now, each with a number to ask about. One worker claims at a time."""
    configured = settings.get().health
    asks = configured.asks_per_day
    if not asks:
        return []
    with transaction(SYSTEM) as tx:
        if not tx.execute(_TRY_LOCK).scalar_one():
            return []
        wanted = tx.execute(
            _CLAIM_DUE,
            {
                "gap": DAY_SECONDS / asks,
                "cap": configured.probes_per_server,
                "unacked": configured.unacked_seconds,
                "suspect": SUSPECT_PAUSE_SECONDS,
                "hangs": HANGING_CHECK_SECONDS,
                "again": DEAD_PAUSE_SECONDS,
                "neighbours": NEIGHBOURS_TO_ASK,
            },
        ).all()
        return _add_numbers(tx, [read_row(Question, row, **_NO_NUMBER) for row in wanted])


def claim_session(session_id: UUID) -> Question | None:
    """Claim one session that was found dead, whenever it was asked last; None where it is up no longer."""
    with transaction(SYSTEM) as tx:
        row = tx.execute(_CLAIM_SESSION, {"id": session_id}).one_or_none()
        if row is None:
            return None
        return _add_numbers(tx, [read_row(Question, row, reason=Reason.AGAIN, hung=0, **_NO_NUMBER)])[0]


def next_due_in() -> float | None:
    """Seconds until some server's next quiet question has its turn, below 0 where one has; None without any."""
    asks = settings.get().health.asks_per_day
    if not asks:
        return None
    with transaction(SYSTEM) as tx:
        seconds: float | None = tx.execute(_SECONDS_TO_NEXT, {"gap": DAY_SECONDS / asks}).scalar_one()
    return seconds


def purge_expired(tx: Connection) -> None:
    """Drop the questions of which nothing depends any more."""
    tx.execute(_DELETE_EXPIRED)


def _add_numbers(tx: Connection, wanted: Sequence[Question]) -> list[Question]:
    if not wanted:
        return []
    configured = settings.get().health
    rows = tx.execute(
        _INSERT_QUESTIONS,
        {
            "ids": [one.session_id for one in wanted],
            "reasons": [one.reason for one in wanted],
            "own": configured.own_numbers(),
            "same": configured.same_number_seconds,
            "hangs": HANGING_CHECK_SECONDS,
        },
    ).all()
    by_session = {row.session_id: row for row in rows}
    return [_add_number(one, by_session.get(one.session_id)) for one in wanted]


def _add_number(one: Question, row: Record | None) -> Question:
    return one if row is None else replace(one, id=row.id, phone=row.phone, certain=row.certain)


# A question before it has a number to ask about.
_NO_NUMBER: Mapping[str, object] = {"id": None, "phone": None, "certain": False}

# Two workers at once would spend a budget twice.
_TRY_LOCK = text("select pg_try_advisory_xact_lock(hashtextextended('proof_questions', 0))")

_CLAIM_DUE = _QUERIES["claim_due"]
_CLAIM_SESSION = _QUERIES["claim_session"]
_INSERT_QUESTIONS = _QUERIES["insert_questions"]
_SECONDS_TO_NEXT = _QUERIES["seconds_to_next"]

_DELETE_EXPIRED = text("delete from public.proof_questions where asked_at < clock_timestamp() - interval '3 days'")
