"""What the worker asks the servers: whether a session is up, pairs, or has ended.

Nothing is posted when a page crashes, so a connected session is asked about again and again.
"""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import (
    Connection,
    and_,
    case,
    func,
    select,
    update,
)

from services import settings
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.db.rows import read_rows
from services.db.tables.fleet import incidents as incident_rows
from services.db.tables.fleet import sessions
from services.errors import ConfigurationError, DatabaseUnavailable
from services.fleet.session import CODE_STATES, RUNNING_STATES, TARGET_COLUMNS, Status, Target
from services.fleet.starts import continue_start, give_up_or_wait
from services.fleet.timing import (
    CHECK_AFTER_ERROR,
    CHECK_LEASE,
    CHECK_WHILE_PAIRING,
    CHECK_WHILE_SETTLING,
    CHECK_WHILE_WAITING,
    LOGOUT_ENDS_WITHIN,
    SETTLE_TIMEOUT,
)
from services.fleet.transitions import (
    connected_values,
    end_session,
    report_state,
    show_codes,
    unchanged_since_read,
    update_if_unchanged,
)
from services.platform.worker_loop import get_seconds_until
from services.wppconnect.errors import WppDisconnected, WppError
from services.wppconnect.shared import get_client

log = structlog.get_logger(__name__)
PARALLEL_CHECKS = 8


def run_due_checks(limit: int = 50) -> int:
    """Ask the servers about every session whose `check_at` is due; returns how many were asked.

    Sessions that pair or gave contradictory signs are due at once; those that are up each `health.page_seconds`,
    because nothing is posted when a page crashes.
    """
    period = timedelta(seconds=settings.get().health.page_seconds)
    with transaction(SYSTEM) as tx:
        due = (
            select(sessions.c.id)
            .where(sessions.c.check_at <= func.now())
            .order_by(sessions.c.check_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        settled = and_(sessions.c.status == Status.CONNECTED, sessions.c.settling_since.is_(None))
        claim = (
            update(sessions)
            .where(sessions.c.id.in_(due))
            .values(check_at=func.now() + case((settled, period), else_=CHECK_LEASE))
            .returning(*TARGET_COLUMNS)
        )
        targets = read_rows(Target, tx.execute(claim))
        away = _servers_down(tx)
    # A page on a server that does not answer is asked about once the server does (`incidents.end_server_down`).
    asked = [target for target in targets if not (target.server_url in away and _is_settled(target))]
    if asked:
        with ThreadPoolExecutor(min(len(asked), PARALLEL_CHECKS), thread_name_prefix="check") as pool:
            list(pool.map(_check_session, asked))
    return len(targets)


def request_all_checks() -> int:
    """Have the servers asked about every session that is not down, as after a restore; returns how many there are."""
    with transaction(SYSTEM) as tx:
        done = tx.execute(update(sessions).where(sessions.c.status != Status.DISCONNECTED).values(check_at=func.now()))
    return int(done.rowcount)


def _servers_down(tx: Connection) -> set[str]:
    known = select(incident_rows.c.server_url).where(
        incident_rows.c.session_id.is_(None), incident_rows.c.ended_at.is_(None)
    )
    return set(tx.execute(known).scalars())


def _is_settled(target: Target) -> bool:
    return target.status is Status.CONNECTED and target.settling_since is None


@contextlib.contextmanager
def check_if_disconnected(actor: Actor, name: str) -> Iterator[None]:
    """Have the session asked about at once where a call inside says that it is not up; the error goes on.

    The server answers 404 `Disconnected` to whatever needs a living page (wppconnect-server 2.10.4), and posts nothing
    of it: the answer is the evidence. Whoever may see the session may have it asked.
    """
    try:
        yield
    except WppDisconnected:
        up = update(sessions).where(sessions.c.session_id == name, sessions.c.status == Status.CONNECTED)
        undue = sessions.c.check_at.is_(None) | (sessions.c.check_at > func.now())
        # What the call said stays true while the database is away, and may be all that tells that nothing left.
        with contextlib.suppress(DatabaseUnavailable), transaction(actor) as tx:
            tx.execute(up.where(undue).values(check_at=func.now()))
        raise


def next_check_in() -> float | None:
    """Seconds until the next session is due, or None while none is."""
    due = select(func.min(sessions.c.check_at)).where(sessions.c.check_at.is_not(None))
    return get_seconds_until(due.scalar_subquery())


def _check_session(target: Target) -> None:
    try:
        if target.start_at is not None:
            continue_start(target)
        elif target.status is Status.CONNECTED:
            _check_connected(target)
        elif target.status is Status.PAIRING:
            _check_pairing(target)
        else:
            _check_ended(target)
    except (WppError, ConfigurationError) as error:
        log.info("check_failed", session=target.name, error=type(error).__name__)
        with transaction(SYSTEM) as tx:
            give_up_or_wait(tx, target, "server_unreachable", CHECK_AFTER_ERROR)


def _check_connected(target: Target) -> None:
    """A session that is up: its page lives, its server is still bringing it up, or it is lost."""
    if get_client().check_connection(target.server_url, target.name):
        if target.settling_since is not None:
            _mark_connected(target)
        return
    state = get_client().status_session(target.server_url, target.name)
    # It may have come up between the two questions.
    if state.status == "CONNECTED" and get_client().check_connection(target.server_url, target.name):
        _mark_connected(target)
        return
    with transaction(SYSTEM) as tx:
        if state.status == "CONNECTED":
            # Measured: it says so for ever after its Chrome has died or its page has crashed.
            end_session(tx, target.name, "browser_closed", only=unchanged_since_read(target), state=state.status)
        elif state.status in RUNNING_STATES and not _settled_too_long(target, state.status):
            since = func.coalesce(sessions.c.settling_since, func.now())
            update_if_unchanged(tx, target, settling_since=since, check_at=func.now() + CHECK_WHILE_SETTLING)
        else:
            failure = "logged_out" if state.status in CODE_STATES else "lost"
            end_session(tx, target.name, failure, only=unchanged_since_read(target), state=state.status)


def _settled_too_long(target: Target, state: str) -> bool:
    """Codes are "not yet" only after the session was announced; a start shows itself before that."""
    if target.settling_since is None:
        return state in CODE_STATES
    return datetime.now(UTC) > target.settling_since + SETTLE_TIMEOUT


def _mark_connected(target: Target) -> None:
    """The server has it up now: read whose it is, which is no proof of life."""
    try:
        number = get_client().phone_number(target.server_url, target.name)
        device = get_client().host_device(target.server_url, target.name)
    except WppDisconnected:
        with transaction(SYSTEM) as tx:
            update_if_unchanged(tx, target, check_at=func.now() + CHECK_WHILE_SETTLING)
        return
    with transaction(SYSTEM) as tx:
        update_if_unchanged(
            tx,
            target,
            phone_number=number,
            device_name=device.pushname or device.platform,
            check_at=func.now() + timedelta(seconds=settings.get().health.page_seconds),
            last_activity=func.now(),
            **connected_values(func.now()),
            settling_since=None,
        )


def _check_pairing(target: Target) -> None:
    state = get_client().status_session(target.server_url, target.name)
    if state.status == "CONNECTED":
        if get_client().check_connection(target.server_url, target.name):
            _mark_connected(target)
            return
        with transaction(SYSTEM) as tx:
            end_session(tx, target.name, "browser_closed", only=unchanged_since_read(target), state=state.status)
        return
    with transaction(SYSTEM) as tx:
        show_codes(tx, target, state)
        given_up = give_up_or_wait(
            tx, target, "no_answer", CHECK_WHILE_SETTLING if target.scanned else CHECK_WHILE_PAIRING, state.status
        )
    if given_up and state.status in RUNNING_STATES:
        # Or it goes on making codes that nobody is shown.
        get_client().close_session(target.server_url, target.name)


def _check_ended(target: Target) -> None:
    """A session that ended gives signs of life: it is up after all, or comes back though it was stopped."""
    state = get_client().status_session(target.server_url, target.name)
    alive = state.status == "CONNECTED" and get_client().check_connection(target.server_url, target.name)
    stopped = target.ended_on_purpose_at is not None
    if alive and not stopped:
        _mark_connected(target)
        return
    if alive:
        (get_client().logout_session if target.failure is None else get_client().close_session)(
            target.server_url, target.name
        )
        log.info("stopped_session_ended_again", session=target.name)
    comes_back = state.status in RUNNING_STATES and target.settling_since is not None
    with transaction(SYSTEM) as tx:
        report_state(tx, target, "CLOSED" if alive else state.status, func.clock_timestamp())
        waits = comes_back and not _settled_too_long(target, state.status)
        update_if_unchanged(
            tx,
            target,
            check_at=func.now() + CHECK_WHILE_WAITING if waits else None,
            profile_available_at=func.now() + LOGOUT_ENDS_WITHIN if alive else sessions.c.profile_available_at,
        )
