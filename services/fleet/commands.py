"""What a person does with a session: connect, reconnect, disconnect, close, and move it to another server."""

from uuid import UUID

import structlog
from sqlalchemy import (
    Connection,
    and_,
    case,
    func,
    literal,
    update,
)

from services.db.actor import Actor
from services.db.engine import transaction
from services.db.tables.fleet import sessions
from services.errors import ConfigurationError, NotFound
from services.fleet import server_registry
from services.fleet.access import record_staff_action, require_owner
from services.fleet.session import RUNNING_STATES, Session, Status, Target, get_existing, read_target
from services.fleet.starts import require_not_up, start_session
from services.fleet.timing import CHECK_WHILE_WAITING, LOGOUT_ENDS_WITHIN
from services.fleet.transitions import end_session, unchanged_since_read
from services.wppconnect.errors import WppError
from services.wppconnect.phone import read_as_typed
from services.wppconnect.shared import get_client

log = structlog.get_logger(__name__)


def connect(actor: Actor, user_id: UUID | None = None, phone: str | None = None) -> Session:
    """Start pairing by QR, or by phone code where `phone` is given, in the spelling that it has; a session that is up
    stays as it is.

    A start that runs already and shows what is wanted is taken over with its webhook secret, and so is a session that
    its server has up; one that shows another kind of code is waited for (`Session.waits_until`). Where the outcome is
    unknown the row stays `pareando`: the worker finds out.

    Raises: InvalidPhone, Forbidden, SessionBeingCleaned while the data of its last connection are being deleted,
        NoServerAvailable, or the WppError of the call (the row then says `desconectado` with the reason).
    """
    owner = require_owner(actor, user_id)
    digits = read_as_typed(phone) if phone else None
    start_session(actor, owner, digits, "session.connect")
    return get_existing(actor, owner)


def reconnect(actor: Actor, user_id: UUID | None = None) -> Session:
    """Close what is up on the server, without unpairing the phone, and start it again, by phone code where it was.

    Raises: what `connect` raises.
    """
    owner = require_owner(actor, user_id)
    target = read_target(actor, owner)
    start_session(actor, owner, target.phone if target else None, "session.restart", close_first=True)
    return get_existing(actor, owner)


def disconnect(actor: Actor, user_id: UUID | None = None) -> Session:
    """End the session on its server (a connected one is unpaired), check that it ended, and say `desconectado`.

    A pairing is only given up: its start ends by itself, and closing it would lock the profile for a minute. Doing it
    twice is the same as once. On a server that is configured no longer nothing can be ended: it is not called, and the
    session is only called ended.

    Raises: NotFound without a session, Forbidden, the WppError of the call, or WppOutcomeUnknown where the server still
        reports the session as up.
    """
    owner = require_owner(actor, user_id)
    target = read_target(actor, owner)
    if target is None:
        raise NotFound(f"no session of {owner}")
    only_pairs = target.status is Status.PAIRING and not target.scanned
    try:
        if not only_pairs and server_registry.is_configured(target.server_url):
            _unpair(target)
    except WppError as error:
        # One that is up must not be called ended while it is not.
        if target.status is Status.CONNECTED or not error.safe_to_retry:
            _mark_not_ended(actor, target)
            raise
    with transaction(actor) as tx:
        _mark_stopped(tx, target, None, now_free=only_pairs)
        record_staff_action(tx, actor, owner, target.id, "session.disconnect")
    return get_existing(actor, owner)


def close(actor: Actor, user_id: UUID | None = None) -> Session:
    """Stop the session on its server and leave it stopped; the phone stays paired.

    A pairing is only given up, as by `disconnect`, and one that is coming up is closed by the worker once it is up:
    closing it before that would leave its browser behind.

    Raises: what `disconnect` raises.
    """
    owner = require_owner(actor, user_id)
    target = read_target(actor, owner)
    if target is None:
        raise NotFound(f"no session of {owner}")
    only_pairs = target.status is Status.PAIRING and not target.scanned
    comes_up = not only_pairs and get_client().status_session(target.server_url, target.name).status in RUNNING_STATES
    if not only_pairs and not comes_up:
        get_client().close_session(target.server_url, target.name)
        require_not_up(target)
    with transaction(actor) as tx:
        _mark_stopped(tx, target, "closed", now_free=not comes_up)
        record_staff_action(tx, actor, owner, target.id, "session.close")
    return get_existing(actor, owner)


def move_to_server(actor: Actor, server_url: str, user_id: UUID | None = None) -> Session:
    """Take the session off its server and start it on another one, where the phone must be paired anew.

    A server that cannot be reached does not hold it back.

    Raises: ConfigurationError for a server that is no configured one, NotFound without a session, and what `connect`
        raises.
    """
    owner = require_owner(actor, user_id)
    if not server_registry.is_configured(server_url):
        raise ConfigurationError("WPP_SERVER_URL: the session's server is not a configured one")
    target = read_target(actor, owner)
    if target is None:
        raise NotFound(f"no session of {owner}")
    try:
        if server_registry.is_configured(target.server_url):
            _unpair(target)
    except WppError as error:
        if not error.safe_to_retry:
            raise
        log.warning("moved_without_ending", session=target.name, error=type(error).__name__)
    with transaction(actor) as tx:
        end_session(tx, target.name, None)
        tx.execute(
            update(sessions)
            .where(sessions.c.id == target.id)
            .values(server_url=server_url, start_asked_at=None, profile_available_at=None)
        )
        record_staff_action(tx, actor, owner, target.id, "session.move")
    return connect(actor, owner)


def _unpair(target: Target) -> None:
    """Log the session out; where nothing lives that could be, close it and delete its data.

    One that is just coming up can only be logged out then: the worker does it.

    Raises: WppError.
    """
    if not get_client().logout_session(target.server_url, target.name):
        state = get_client().status_session(target.server_url, target.name)
        if state.status in RUNNING_STATES:
            return
        get_client().close_session(target.server_url, target.name)
        get_client().clear_session_data(target.server_url, target.name)
    require_not_up(target)


def _mark_stopped(tx: Connection, target: Target, failure: str | None, *, now_free: bool) -> None:
    """Somebody ended it on purpose. `now_free`: no browser that is ending holds its profile."""
    paired = and_(literal(failure is None and now_free), sessions.c.phone_number.is_not(None))
    end_session(tx, target.name, case((paired, "closed"), else_=failure))
    tx.execute(
        update(sessions)
        .where(sessions.c.id == target.id)
        .values(
            desired_connected=False,
            ended_on_purpose_at=func.now(),
            settling_since=None if now_free else func.now(),
            profile_available_at=None if now_free else func.now() + LOGOUT_ENDS_WITHIN,
            check_at=None if now_free else func.now() + CHECK_WHILE_WAITING,
        )
    )


def _mark_not_ended(actor: Actor, target: Target) -> None:
    """An end that was asked for and not confirmed: the session counts as it did, and the row says so."""
    with transaction(actor) as tx:
        tx.execute(
            update(sessions).where(unchanged_since_read(target)).values(failure="not_ended", updated_at=func.now())
        )
