"""Number checks: whether a phone number is on WhatsApp, and which address WhatsApp uses for it; the answers are kept.

WhatsApp counts these questions. So each number that sends has a budget for an hour, however many sessions it has, and a
question is written down before it is asked. A yes is valid for weeks, and an acknowledgement from the address renews
it; a no is valid for a day.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, func, select, text, update

from services import settings
from services.db import queries
from services.db.actor import Actor
from services.db.engine import transaction
from services.db.rows import read_row
from services.db.tables.contacts import number_checks
from services.db.tables.fleet import sessions as session_rows
from services.errors import NotFound
from services.fleet import checks
from services.wppconnect.results import NumberCheck
from services.wppconnect.shared import get_client

_QUERIES = queries.load(__file__)

_RESERVE_QUESTIONS = _QUERIES["reserve_questions"]
_CONFIRM_BY_ACK = _QUERIES["confirm_by_ack"]


@dataclass(frozen=True)
class KnownNumber:
    """What is believed of one number. `address` is None where nobody has it, `checked_at` where only an acknowledgement
    has told."""

    on_whatsapp: bool
    address: str | None
    checked_at: datetime | None
    confirmed_at: datetime | None = None


def get_known(who: Actor | Connection, session_id: UUID, phones: Collection[str]) -> dict[str, KnownNumber]:
    """What is still believed of those of `phones` (digits) that were asked about before: one read of the primary key.

    `who` is an open transaction or somebody for whom one is opened.
    """
    query = select(number_checks).where(
        number_checks.c.session_id == session_id,
        number_checks.c.phone == func.any(list(phones)),
        number_checks.c.fresh_until > func.now(),
    )
    if isinstance(who, Connection):
        return {row.phone: read_row(KnownNumber, row) for row in who.execute(query)}
    with transaction(who) as tx:
        return {row.phone: read_row(KnownNumber, row) for row in tx.execute(query)}


def check_numbers(
    actor: Actor,
    session_id: UUID,
    phones: Sequence[str],
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> dict[str, KnownNumber]:
    """Ask the session's server about `phones` (digits) one after another, and remember each answer at once.

    Only as many as the hour's budget allows, the first ones first: who is missing from the result was not asked.
    `progress(done, of)` is called after each. The first failure ends it and is raised as the client raises it
    (WppError, ConfigurationError, InvalidPhone); `get_known` then gives what was answered before.

    Raises: NotFound where the session is not the actor's; WppError, ConfigurationError, InvalidPhone as said above.
    """
    asked = list(dict.fromkeys(phones))
    name, server_url, allowed = _reserve_questions(actor, session_id, asked)
    answers: dict[str, KnownNumber] = {}
    for phone in (one for one in asked if one in allowed):
        with checks.check_if_disconnected(actor, name):
            answer = get_client().check_number(server_url, name, phone)
        answers[phone] = _save_answer(actor, session_id, phone, answer)
        progress(len(answers), len(allowed))
    return answers


def remaining_budget(actor: Actor, session_id: UUID) -> int:
    """How many questions of this hour's budget the number of a session has left."""
    with transaction(actor) as tx:
        spent = tx.execute(select(func.app.count_number_questions(session_id))).scalar_one()
    return max(settings.get().numbers.checks_per_hour - int(spent), 0)


def confirm_by_ack(tx: Connection, message_id: UUID) -> None:
    """An acknowledgement came for this message: its recipient's address is the right one, for another while."""
    known_for = timedelta(days=settings.get().numbers.known_days)
    tx.execute(_CONFIRM_BY_ACK, {"message_id": message_id, "known_for": known_for})


def _reserve_questions(actor: Actor, session_id: UUID, phones: list[str]) -> tuple[str, str, set[str]]:
    """The session's name and server, and those of `phones` that may be asked about now."""
    with transaction(actor) as tx:
        line = tx.execute(
            select(
                session_rows.c.session_id,
                session_rows.c.server_url,
                func.coalesce(func.app.get_line_of_user(session_rows.c.user_id), str(session_id)).label("number"),
            ).where(session_rows.c.id == session_id)
        ).one_or_none()
        if line is None:
            raise NotFound(f"session {session_id}")
        tx.execute(text("select pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": f"numbers{line.number}"})
        budget = settings.get().numbers.checks_per_hour
        allowed = tx.execute(
            _RESERVE_QUESTIONS, {"session_id": session_id, "phones": phones, "budget": budget}
        ).scalars()
        return line.session_id, line.server_url, set(allowed)


def _save_answer(actor: Actor, session_id: UUID, phone: str, answer: NumberCheck) -> KnownNumber:
    configured = settings.get().numbers
    days = configured.known_days if answer.exists else configured.absent_days
    with transaction(actor) as tx:
        row = tx.execute(
            update(number_checks)
            .where(number_checks.c.session_id == session_id, number_checks.c.phone == phone)
            .values(
                on_whatsapp=answer.exists,
                address=answer.address,
                checked_at=func.now(),
                fresh_until=func.now() + timedelta(days=days),
            )
            .returning(number_checks)
        ).one()
    return read_row(KnownNumber, row)
