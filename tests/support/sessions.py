"""Sessions of WhatsApp, as the console and a phone bring them about."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.fleet import checks, commands, transitions
from services.fleet import session as fleet_session
from services.fleet.session import Session, Status
from tests.support.databases import Database
from tests.support.sandbox_control import SandboxControl
from tests.support.waiting import wait_for


def connected(
    database: Database, actor: Actor, server_url: str = "http://127.0.0.1:9", phone: str = "5511999990000"
) -> UUID:
    """Give `actor` a session that is up, as a finished pairing leaves it."""
    session_id: UUID = database.one(
        "insert into whatsapp_sessions (user_id, session_id, status, server_url, pairing_started_at, phone_number)"
        " values (%s, %s, 'conectado', %s, now(), %s) returning id",
        actor.user_id,
        f"user_{actor.user_id}",
        server_url,
        phone,
    )
    database.execute("insert into lanes (session_id) values (%s)", session_id)
    return session_id


def wrote_to(database: Database, user_id: UUID | None, phone: str = "5511966660000") -> None:
    """An acknowledgement came from that number long ago: a session may be asked about whom it has written to."""
    database.execute(
        "insert into number_checks (session_id, user_id, phone, on_whatsapp, asked_at, checked_at, confirmed_at)"
        " select id, user_id, %s, true, now() - interval '1 day', now() - interval '1 day', now() - interval '1 day'"
        " from whatsapp_sessions where user_id = %s",
        phone,
        user_id,
    )


def own_session(actor: Actor) -> Session:
    """The actor's session, which must be there."""
    found = fleet_session.get(actor)
    assert found is not None
    return found


def name_of(actor: Actor) -> str:
    return f"user_{actor.user_id}"


def insert_pairing(database: Database, actor: Actor) -> None:
    """A session that was started and whose worker asks nobody."""
    database.execute(
        "insert into whatsapp_sessions (user_id, session_id, status, server_url, pairing_started_at)"
        " values (%s, %s, 'pareando', 'http://127.0.0.1:9', clock_timestamp())",
        actor.user_id,
        name_of(actor),
    )


def apply_report(actor: Actor, value: str, *, current: bool = True, at: datetime | None = None) -> None:
    """What a webhook says of the session."""
    with transaction(SYSTEM) as tx:
        transitions.apply_report(tx, name_of(actor), value, at or datetime.now(UTC), current=current)


def show_qr(actor: Actor, urlcode: str, at: datetime | None = None) -> None:
    """What a webhook with a QR does."""
    with transaction(SYSTEM) as tx:
        transitions.show_qr(tx, name_of(actor), urlcode, None, at or datetime.now(UTC))


def check_until(actor: Actor, condition: Callable[[Session], Any], database: Database) -> Session:
    """Let the worker ask, without waiting for the moment when it would."""

    def look() -> bool:
        database.execute("update whatsapp_sessions set check_at = now() where check_at is not null")
        checks.run_due_checks()
        return bool(condition(own_session(actor)))

    wait_for(look)
    return own_session(actor)


def pair_by_asking(actor: Actor, control: SandboxControl, database: Database) -> Session:
    """Connect and scan, with every webhook lost."""
    commands.connect(actor)
    check_until(actor, lambda found: found.qr, database)
    control.scan(name_of(actor), "5511987654321")
    return check_until(actor, lambda found: found.status is Status.CONNECTED, database)


def announce(actor: Actor, control: SandboxControl, database: Database) -> None:
    """Connect and scan, up to the announcement; the server itself says CONNECTED only later."""
    commands.connect(actor)
    check_until(actor, lambda session: session.qr, database)
    control.scan(name_of(actor), "5511987654321")
    apply_report(actor, "qrReadSuccess")
    apply_report(actor, "inChat")


def get_server_status(actor: Actor, control: SandboxControl) -> str | None:
    """What the server says of the session."""
    state = control.session(name_of(actor))
    return state["status"] if state else None
