"""Facts about one session: what the database knows, and what its server answers when asked now.

Facts hold no contents: no QR, no code and no text leaves here, so staff may look at any session.
`session_checks` judges them.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select

from services import settings
from services.contacts import number_checks
from services.db import queries
from services.db.actor import Actor
from services.db.engine import transaction
from services.db.rows import read_object
from services.db.tables.fleet import sessions as session_rows
from services.errors import ConfigurationError, Forbidden, NotFound
from services.fleet.checks import check_if_disconnected
from services.messaging.state import State
from services.wppconnect.errors import InvalidPhone, WppDisconnected, WppError, WppUnreachable
from services.wppconnect.event_keys import get_message_key
from services.wppconnect.shared import get_client

_QUERIES = queries.load(__file__)

CHAT_MESSAGES_READ = 50

_RECENT_RECIPIENT = _QUERIES["recent_recipient"]


@dataclass(frozen=True)
class ServerAnswers:
    """What the server and WhatsApp answered just now.

    `state` is `status-session`'s word, None where there was no answer and `error` says why (an error's code).
    `unanswered`: a question that WhatsApp must answer got no answer; that it got one proves nothing here, because the
    browser may have given it. `page`: what `check-connection-session` said. `chat_ack`: how far the chat
    says that the unacknowledged message got, None where it could not be read or does not have it.
    """

    at: datetime
    state: str | None = None
    error: str = ""
    page: bool | None = None
    unanswered: bool = False
    signed_out: bool = False
    chat_read: bool = False
    chat_ack: int | None = None


@dataclass(frozen=True)
class Tally:
    """How often, and when last."""

    count: int
    at: datetime | None


@dataclass(frozen=True)
class SessionEvent:
    """One handled event of a session's life. `mark` tells two codes apart and says nothing else of them."""

    kind: str
    at: datetime
    word: str | None
    mark: str | None


@dataclass(frozen=True)
class OutgoingMessage:
    """A message without its text."""

    id: UUID
    phone: str
    address: str | None
    wpp_id: str | None
    state: State
    failure: str | None
    created_at: datetime
    accepted_at: datetime | None
    sent_at: datetime | None
    uncertain_at: datetime | None
    reconciled_at: datetime | None
    lid_ack: bool


@dataclass(frozen=True)
class Facts:
    """What the database knows of one session (`app.get_session_facts`)."""

    now: datetime
    begun: datetime | None
    secret_used_at: datetime | None
    qr_count: int
    worker_at: datetime | None
    waiting_since: datetime | None
    delivered_at: datetime | None
    earlier_address: bool
    refused: Tally
    signals: tuple[SessionEvent, ...]
    sessionless: Tally
    doubled: Tally
    reused: Tally
    largest: Tally
    restarted: int
    fallen: int
    neighbours: int
    acked_at: datetime | None
    before_the_end: int
    last: OutgoingMessage | None
    unacknowledged: OutgoingMessage | None
    uncertain: OutgoingMessage | None


def ask_server(actor: Actor, user_id: UUID | None = None) -> ServerAnswers | None:
    """Ask the session's server, and WhatsApp through it, what is true now; None where the person never connected.

    Reads only. Takes as long as the server does: up to about 40 s where it hangs.

    Raises: Forbidden where it is somebody else's and the actor is no staff, DatabaseUnavailable.
    """
    owner = get_owner(actor, user_id)
    with transaction(actor) as tx:
        row = tx.execute(
            select(session_rows.c.id, session_rows.c.session_id, session_rows.c.server_url).where(
                session_rows.c.user_id == owner
            )
        ).one_or_none()
    if row is None:
        return None
    facts = get_facts(actor, owner)
    now = datetime.now(UTC)
    try:
        state = get_client().status_session(row.server_url, row.session_id).status
    except (WppError, ConfigurationError) as error:
        return ServerAnswers(now, error=error.code)
    if state != "CONNECTED":
        return ServerAnswers(now, state)
    page, signed_out = _ask_page(actor, row.server_url, row.session_id)
    up = page is not False and not signed_out
    # Staff have no right to ask in somebody's name: they have what the worker found.
    unanswered = up and owner == actor.user_id and _whatsapp_gives_no_answer(actor, row.id)
    read, ack = False, None
    if up and facts.unacknowledged is not None:
        read, ack = _ask_chat(actor, row.server_url, row.session_id, facts.unacknowledged)
    return ServerAnswers(now, state, "", page, unanswered, signed_out, read, ack)


def get_owner(actor: Actor, user_id: UUID | None) -> UUID:
    """Whose session is meant (default: the actor's own).

    Raises: Forbidden where the actor may not look at it.
    """
    owner = user_id or actor.user_id
    if owner is None or (owner != actor.user_id and not actor.is_staff):
        raise Forbidden(f"diagnosis of {owner}")
    return owner


def get_facts(actor: Actor, owner: UUID) -> Facts:
    """The database's facts of the session of `owner`.

    Raises: Forbidden where the database says no.
    """
    with transaction(actor) as tx:
        found = tx.execute(select(func.app.get_session_facts(owner))).scalar_one()
    if found is None:
        raise Forbidden(f"diagnosis of {owner}")
    none = {"count": 0, "at": None}
    return read_object(
        Facts,
        found,
        qr_count=found["qr_count"] or 0,
        refused=found["refused"] or none,
        largest=found["largest"] or none,
    )


def _ask_page(actor: Actor, server_url: str, name: str) -> tuple[bool | None, bool]:
    """The page's word, and whether nobody is signed in there."""
    page: bool | None = None
    try:
        page = get_client().check_connection(server_url, name)
        with check_if_disconnected(actor, name):
            get_client().phone_number(server_url, name)
    except WppDisconnected:
        return page, True
    except WppError:
        return page, False
    return page, False


def _whatsapp_gives_no_answer(actor: Actor, session_id: UUID) -> bool:
    """Whether WhatsApp leaves a question about somebody whom the session has written to without an answer; False where
    there is nobody to ask about now. The worker then asks at once, in a way that proves."""
    with transaction(actor) as tx:
        same = timedelta(seconds=settings.get().health.same_number_seconds)
        phone = tx.execute(_RECENT_RECIPIENT, {"session_id": session_id, "same": same}).scalar_one_or_none()
    if phone is None:
        return False
    try:
        number_checks.check_numbers(actor, session_id, [phone])
    except WppUnreachable:
        return True
    except (WppError, ConfigurationError, InvalidPhone, NotFound):
        return False
    return False


def _ask_chat(actor: Actor, server_url: str, name: str, message: OutgoingMessage) -> tuple[bool, int | None]:
    """Whether the chat could be read, and the ack that it has for the message. Texts are dropped right here."""
    try:
        with check_if_disconnected(actor, name):
            chat = get_client().get_messages(
                server_url, name, message.address or message.phone, count=CHAT_MESSAGES_READ
            )
    except (WppError, InvalidPhone):
        return False, None
    return True, next(
        (one.ack for one in chat if get_message_key(one.id) == get_message_key(message.wpp_id or "")), None
    )
