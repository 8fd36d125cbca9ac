"""One start of a session on its server.

A start has four steps (`start_at`):
1. The request is committed.
2. The worker or the caller reads what runs on the server.
3. What runs there is taken over, waited for, or closed.
4. A new webhook secret is committed, and the server is asked to start.

Only one browser can open a profile. A start that meets another browser hangs, and closing a start that nobody scanned
leaves its browser running for up to a minute (measured against wppconnect-server 2.10.4).
"""

import secrets
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import (
    Connection,
    and_,
    case,
    func,
    update,
)

from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.db.tables.fleet import sessions
from services.fleet.access import record_staff_action
from services.fleet.session import CODE_STATES, RUNNING_STATES, Status, Target
from services.fleet.start_requests import choose_place, leave_server, request_start
from services.fleet.timing import (
    CHECK_LEASE,
    CHECK_WHILE_PAIRING,
    CHECK_WHILE_WAITING,
    FIRST_QR_LIFETIME,
    NEXT_QR_LIFETIME,
    PAIRING_TIMEOUT,
    START_LIFETIME,
    START_VISIBLE_WITHIN,
    SYNC_TIMEOUT,
    TAKEOVER_NEEDS,
)
from services.fleet.transitions import (
    NO_CODES,
    end_session,
    report_state,
    show_codes,
    unchanged_since_read,
    update_if_unchanged,
)
from services.fleet.webhook_secrets import hash_secret, webhook_url
from services.wppconnect.errors import WppError, WppOutcomeUnknown, WppUnreachable
from services.wppconnect.results import SessionState
from services.wppconnect.shared import get_client

log = structlog.get_logger(__name__)


def give_up_or_wait(tx: Connection, target: Target, failure: str, wait: timedelta, state: str | None = None) -> bool:
    """Ask again after `wait`; or, where a pairing has had its time or the server has ended it (`state`), say so."""
    now = datetime.now(UTC)
    timeout = SYNC_TIMEOUT if target.scanned else PAIRING_TIMEOUT
    asked = target.start_asked_at
    ended = state == "CLOSED" and asked is not None and now > asked + START_VISIBLE_WITHIN
    expired = target.attempt is not None and now > target.attempt + timeout
    if target.status is Status.PAIRING and (expired or ended):
        shown = "pairing_interrupted" if target.scanned else "qr_not_scanned"
        return end_session(
            tx,
            target.name,
            shown if target.codes_shown or target.scanned else failure,
            only=unchanged_since_read(target),
        )
    update_if_unchanged(tx, target, check_at=func.now() + wait)
    return False


def start_session(actor: Actor, owner: UUID, phone: str | None, action: str, *, close_first: bool = False) -> None:
    """Commit that a start is wanted and bring it as far as it goes now; with `close_first` also of one that is up."""
    with transaction(actor) as tx:
        server_url, left = choose_place(tx, owner, also_up=close_first)
        target = request_start(tx, owner, phone, server_url, also_up=close_first)
        if target is not None:
            record_staff_action(tx, actor, owner, target.id, action)
    if target is None:
        return
    if left is not None:
        leave_server(left, target.name)
    try:
        _advance(actor, target, close_first=close_first)
    except WppOutcomeUnknown:
        with transaction(actor) as tx:
            _try_later(tx, target, CHECK_WHILE_PAIRING)
    except WppError as error:
        with transaction(actor) as tx:
            end_session(tx, target.name, _failure_of_error(error), only=unchanged_since_read(target))
        raise


def continue_start(target: Target) -> None:
    """The worker's part of a start that had to wait; whoever else is at it holds the lease."""
    with transaction(SYSTEM) as tx:
        lease = func.now() + CHECK_LEASE
        free = and_(unchanged_since_read(target), sessions.c.start_at <= func.now())
        if not tx.execute(update(sessions).where(free).values(start_at=lease, check_at=lease)).rowcount:
            update_if_unchanged(tx, target, check_at=sessions.c.start_at)
            return
    try:
        _advance(SYSTEM, target)
    except (WppOutcomeUnknown, WppUnreachable):
        with transaction(SYSTEM) as tx:
            _try_later(tx, target, CHECK_WHILE_PAIRING)
            give_up_or_wait(tx, target, "server_unreachable", CHECK_WHILE_PAIRING)
    except WppError as error:
        log.warning("start_refused", session=target.name, error=type(error).__name__)
        with transaction(SYSTEM) as tx:
            end_session(tx, target.name, _failure_of_error(error), only=unchanged_since_read(target))


def _advance(actor: Actor, target: Target, *, close_first: bool = False) -> None:
    """Take over what runs, wait for what must end, or close it; only then ask for the start.

    Raises: WppError.
    """
    state = get_client().status_session(target.server_url, target.name)
    if state.status == "CONNECTED":
        living = get_client().check_connection(target.server_url, target.name)
        if living and not close_first:
            _take_over(actor, target, state)
            return
        get_client().close_session(target.server_url, target.name)
        require_not_up(target)
    elif state.status in RUNNING_STATES:
        if _worth_taking_over(target, state):
            _take_over(actor, target, state)
            return
        if datetime.now(UTC) < _ends_by_itself_at(target, state):
            with transaction(actor) as tx:
                report_state(tx, target, state.status, func.clock_timestamp())
                update_if_unchanged(tx, target, **NO_CODES)
                _try_later(tx, target, CHECK_WHILE_WAITING)
            return
        get_client().close_session(target.server_url, target.name)
    elif target.profile_available_at is not None and target.profile_available_at > datetime.now(UTC):
        with transaction(actor) as tx:
            _try_later(tx, target, target.profile_available_at - datetime.now(UTC))
        return
    _ask_to_start(actor, target)


def _worth_taking_over(target: Target, state: SessionState) -> bool:
    """A start of the wanted kind that still has time, or whose age nobody knows (a server that restarted began it)."""
    by_code = {"QRCODE": False, "PHONECODE": True}.get(state.status, target.start_phone is not None)
    if by_code != (target.phone is not None) or (by_code and target.start_phone != target.phone):
        return False
    # A code is known only from its own start.
    if state.status == "PHONECODE" and (_start_ended(target) or not target.codes_shown):
        return False
    if _start_ended(target):
        return state.status == "QRCODE"
    age = datetime.now(UTC) - _or_now(target.start_asked_at)
    # What shows nothing for long may have met a locked profile.
    return age < (START_LIFETIME - TAKEOVER_NEEDS if state.status in CODE_STATES else START_VISIBLE_WITHIN)


def _start_ended(target: Target) -> bool:
    """The start that we asked for last has had its time, so that what runs is another one, or hangs."""
    return target.start_asked_at is None or datetime.now(UTC) > target.start_asked_at + START_LIFETIME


def _ends_by_itself_at(target: Target, state: SessionState) -> datetime:
    """When what runs has ended by itself at the latest; what goes on after that hangs."""
    if not _start_ended(target):
        return _or_now(target.start_asked_at) + START_LIFETIME
    return _or_now(target.attempt) + (START_LIFETIME if state.status in CODE_STATES else START_VISIBLE_WITHIN)


def _or_now(moment: datetime | None) -> datetime:
    return moment or datetime.now(UTC)


def _take_over(actor: Actor, target: Target, state: SessionState) -> None:
    """What runs is what is wanted: its webhook address, and so its secret, stay as they are."""
    with transaction(actor) as tx:
        again = func.now() if state.status == "CONNECTED" else func.now() + CHECK_WHILE_PAIRING
        update_if_unchanged(tx, target, start_at=None, check_at=again)
        report_state(tx, target, state.status, func.clock_timestamp())
        show_codes(tx, target, state)
        _shorten_qr(tx, target)


def _shorten_qr(tx: Connection, target: Target) -> None:
    """The QR of a start that was taken over lives no longer than that start."""
    ends = NEXT_QR_LIFETIME + datetime.now(UTC) if _start_ended(target) else None
    limit = ends or (_or_now(target.start_asked_at) + FIRST_QR_LIFETIME)
    shown = sessions.c.qr_expires_at.is_not(None)
    update_if_unchanged(
        tx, target, qr_expires_at=case((shown, func.least(sessions.c.qr_expires_at, limit)), else_=None)
    )


def _try_later(tx: Connection, target: Target, wait: timedelta) -> None:
    """Look at the start again after `wait`; one that was asked for meanwhile is only checked then."""
    later = func.now() + wait
    update_if_unchanged(
        tx, target, start_at=case((sessions.c.start_at.is_not(None), later), else_=None), check_at=later
    )


def _ask_to_start(actor: Actor, target: Target) -> None:
    secret = secrets.token_urlsafe(24)
    with transaction(actor) as tx:
        begun = tx.execute(
            update(sessions)
            .where(unchanged_since_read(target), sessions.c.start_at.is_not(None))
            .values(
                webhook_secret_hash=hash_secret(secret),
                start_at=None,
                start_asked_at=func.clock_timestamp(),
                start_phone=target.phone,
                profile_available_at=None,
                check_at=func.now() + CHECK_WHILE_PAIRING,
                **NO_CODES,
            )
        )
    if not begun.rowcount:
        return
    # A code is worth waiting for: unlike a QR it cannot be asked for again where its webhook is lost.
    state = get_client().start_session(
        target.server_url,
        target.name,
        webhook_url(secret, target.name),
        phone=target.phone,
        wait_qr=target.phone is not None,
    )
    with transaction(actor) as tx:
        report_state(tx, target, state.status, func.clock_timestamp())
        show_codes(tx, target, state)


def _failure_of_error(error: WppError) -> str:
    return "server_unreachable" if error.safe_to_retry else "server_refused"


def require_not_up(target: Target) -> None:
    """Closing and logging out may say that they worked and yet not have."""
    state = get_client().status_session(target.server_url, target.name)
    if state.status == "CONNECTED":
        raise WppOutcomeUnknown(f"{target.name} is still reported as up after its end")
