"""The changes of a session's row: what the server reports, and how a session is connected or ended.

A status changes on evidence only. What arrives through the URL of an earlier attempt, or contradicts a status without
proving anything, changes nothing: it makes the worker ask the server (`check_at`).

Every function runs inside the transaction of its caller.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Update,
    and_,
    case,
    func,
    null,
    or_,
    update,
)

from services.db.tables.fleet import sessions
from services.fleet.session import FINAL_FAILURES, Proof, Status, Target
from services.fleet.timing import EARLIER_ENDS_WITHIN, FIRST_QR_LIFETIME, NEXT_QR_LIFETIME, PROOF_INTERVAL
from services.wppconnect.results import SessionState

# A time from the event's row, or the database's own clock: the clocks of our machines never decide an order.
Moment = datetime | ColumnElement[datetime]

# `status-find` values that end a session → failure code. Names from wppconnect-server 2.10.4.
ENDINGS = {
    "autocloseCalled": "qr_not_scanned",
    "qrReadFail": "qr_read_failed",
    "qrReadError": "qr_read_failed",
    "browserClose": "browser_closed",
    "serverClose": "server_closed",
    "disconnectedMobile": "phone_logged_out",
    "closesession": "closed",
    "logoutsession": "logged_out",
}
# The guesses of whoever found a session gone before the server's own word came.
GUESSED_FAILURES = ("lost", "browser_closed")
# Endings of an unscanned start: they say nothing of a session that is already up.
PAIRING_ENDINGS = {"autocloseCalled", "qrReadFail", "qrReadError"}
UP_REPORTS = {"inChat", "isLogged", "CONNECTED"}
PHONE_CODE_LENGTH = 8


def show_qr(tx: Connection, name: str, urlcode: str | None, png: str | None, received_at: Moment) -> None:
    """Show a new QR to a session that is pairing; a stale, repeated, older or served one changes nothing."""
    lifetime = case((sessions.c.qr_count == 0, FIRST_QR_LIFETIME), else_=NEXT_QR_LIFETIME)
    fresh = and_(
        sessions.c.scanned_at.is_(None),
        sessions.c.start_at.is_(None),
        func.coalesce(sessions.c.qr_urlcode, sessions.c.qr_code).is_distinct_from(urlcode or png),
        received_at >= sessions.c.pairing_started_at,
        func.coalesce(sessions.c.qr_received_at < received_at, True),
        received_at + lifetime > func.now(),
    )
    tx.execute(
        _update_in_status(name, Status.PAIRING)
        .where(fresh)
        .values(
            qr_urlcode=urlcode,
            qr_code=png,
            qr_received_at=received_at,
            qr_expires_at=received_at + lifetime,
            qr_count=sessions.c.qr_count + 1,
            **_reported_values("QRCODE", received_at),
        )
    )


def show_phone_code(tx: Connection, name: str, code: str, received_at: Moment) -> None:
    """Show a pairing code, as `ABCD-1234`, with whose hyphen or without it comes; only the newest is ever shown."""
    if len(signs := code.replace("-", "")) == PHONE_CODE_LENGTH:
        code = f"{signs[:4]}-{signs[4:]}"
    tx.execute(
        _update_in_status(name, Status.PAIRING)
        .where(
            sessions.c.start_at.is_(None),
            received_at >= sessions.c.pairing_started_at,
            func.coalesce(sessions.c.phone_code_at < received_at, True),
            sessions.c.phone_code.is_distinct_from(code),
        )
        .values(phone_code=code, phone_code_at=received_at, **_reported_values("PHONECODE", received_at))
    )


def apply_report(tx: Connection, name: str, value: str, received_at: datetime, *, current: bool) -> None:
    """Take in one `status-find` value, or the name of a closing event.

    `current` tells whether it came through the URL of the newest attempt. Whatever is not evidence for a change makes
    the worker ask the server.
    """
    if value == "browserClose":
        tx.execute(update(sessions).where(sessions.c.session_id == name).values(profile_available_at=None))
    if value == "qrReadSuccess":
        _mark_scanned(tx, name, received_at)
    elif value in UP_REPORTS and current:
        _mark_up(tx, name, received_at)
    elif value in ENDINGS and current:
        ended = end_session(tx, name, _failure_of_ending(value), received_at, only=_may_end(value, received_at))
        if not ended:
            _correct_failure(tx, name, value)
            _check_soon(tx, name, value, received_at)
    else:
        _check_soon(tx, name, value, received_at)


def record_proof(tx: Connection, name: str, kind: Proof, at: datetime) -> None:
    """Note that a session showed itself alive at `at`; never moves backwards, and at most every 30 s."""
    tx.execute(
        update(sessions)
        .where(
            sessions.c.session_id == name,
            sessions.c.status == Status.CONNECTED,
            func.coalesce(sessions.c.last_proof_at < at - PROOF_INTERVAL, True),
        )
        .values(last_proof_at=at, last_proof_kind=kind, last_activity=at)
    )


def mark_lost(tx: Connection, name: str, attempt: datetime | None) -> bool:
    """Say that a session which was up by the start `attempt` is not; False where it has moved on since."""
    same = and_(sessions.c.status == Status.CONNECTED, sessions.c.pairing_started_at.is_not_distinct_from(attempt))
    return end_session(tx, name, "lost", only=same)


def show_codes(tx: Connection, target: Target, state: SessionState) -> None:
    """Shows the QR or the pairing code that the server's answer holds, if it holds one."""
    now = func.clock_timestamp()
    if state.status == "QRCODE" and state.urlcode:
        show_qr(tx, target.name, state.urlcode, state.qrcode, now)
    elif state.phone_code:
        show_phone_code(tx, target.name, state.phone_code, now)


def report_state(tx: Connection, target: Target, state: str, at: Moment) -> None:
    """Stores the server's word for the session and its time, unless the session changed since `target` was read."""
    update_if_unchanged(tx, target, **_reported_values(state, at))


def update_if_unchanged(tx: Connection, target: Target, **values: Any) -> None:
    """Change the row unless somebody has started, connected or ended the session since `target` was read."""
    tx.execute(update(sessions).where(unchanged_since_read(target)).values(**values))


NO_CODES: dict[str, Any] = {
    "qr_code": None,
    "qr_urlcode": None,
    "qr_received_at": None,
    "qr_expires_at": None,
    "qr_count": 0,
    "phone_code": None,
    "phone_code_at": None,
}


def _reported_values(state: str, at: Moment) -> dict[str, Any]:
    return {"reported_state": state, "reported_at": at}


def connected_values(at: Any) -> dict[str, Any]:
    """The values of the columns of a session that is connected since `at`; an earlier `connected_at` stays."""
    return {
        "status": Status.CONNECTED,
        "desired_connected": True,
        "connected_at": func.coalesce(sessions.c.connected_at, at),
        "reported_state": "CONNECTED",
        "reported_at": at,
        "failure": None,
        "updated_at": func.now(),
        "scanned_at": None,
        "pairing_phone": None,
        "start_at": None,
        "ended_on_purpose_at": None,
        **NO_CODES,
    }


def _webhook_proof_values(at: Any) -> dict[str, Any]:
    return {"last_proof_at": at, "last_proof_kind": Proof.WEBHOOK, "last_activity": at}


def _update_in_status(name: str, *statuses: Status) -> Update:
    return update(sessions).where(sessions.c.session_id == name, sessions.c.status.in_(statuses))


def unchanged_since_read(target: Target) -> Any:
    """True while nobody has started, connected or ended the session since `target` was read."""
    return and_(
        sessions.c.id == target.id,
        sessions.c.status == target.status,
        sessions.c.pairing_started_at.is_not_distinct_from(target.attempt),
    )


def _may_end(value: str, received_at: datetime) -> Any:
    """Which statuses an ending may end: an unscanned start's ending says nothing of a session that is up, and none of a
    start that was not asked for yet, or just now: what was closed before it may say so only then. That is asked about.
    """
    begun = func.coalesce(sessions.c.start_asked_at + EARLIER_ENDS_WITHIN <= received_at, True)
    pairs = and_(sessions.c.status == Status.PAIRING, sessions.c.start_at.is_(None), begun)
    if value in PAIRING_ENDINGS:
        return pairs
    up = sessions.c.status == Status.CONNECTED
    return or_(pairs, and_(up, begun) if value in ("browserClose", "closesession") else up)


def _failure_of_ending(value: str) -> str | ColumnElement[str]:
    """Measured: every browser's end is posted as `browserClose`, an unscanned start's too."""
    if value != "browserClose":
        return ENDINGS[value]
    shown = or_(sessions.c.qr_count > 0, sessions.c.phone_code.is_not(None))
    return case(
        (sessions.c.status == Status.CONNECTED, ENDINGS[value]),
        (sessions.c.scanned_at.is_not(None), "pairing_interrupted"),
        (shown, "qr_not_scanned"),
        else_="no_answer",
    )


def _mark_scanned(tx: Connection, name: str, at: datetime) -> None:
    tx.execute(
        _update_in_status(name, Status.PAIRING)
        .where(at >= sessions.c.pairing_started_at)
        .values(scanned_at=at, start_at=None, check_at=func.now(), **NO_CODES, **_reported_values("qrReadSuccess", at))
    )
    # Whoever gave a pairing up and then reads its code all the same wants it.
    tx.execute(_update_in_status(name, Status.DISCONNECTED).values(ended_on_purpose_at=None))


def _mark_up(tx: Connection, name: str, at: datetime) -> None:
    """Pairing or up becomes up; one that ended is asked first, because news of its life may simply be late."""
    soon = {"settling_since": at, "check_at": func.now()}
    tx.execute(
        _update_in_status(name, Status.PAIRING).values(**_webhook_proof_values(at), **connected_values(at), **soon)
    )
    tx.execute(_update_in_status(name, Status.DISCONNECTED).values(**_reported_values("CONNECTED", at), **soon))
    tx.execute(_update_in_status(name, Status.CONNECTED).values(**soon))
    record_proof(tx, name, Proof.WEBHOOK, at)


def end_session(
    tx: Connection,
    name: str,
    failure: str | ColumnElement[str] | None,
    at: datetime | None = None,
    *,
    only: Any = True,
    state: str = "CLOSED",
) -> bool:
    """Say `desconectado` with the reason; False where `only` admitted nothing. `state`: what the server says."""
    done = tx.execute(
        update(sessions)
        .where(sessions.c.session_id == name, only)
        .values(
            status=Status.DISCONNECTED,
            failure=failure,
            scanned_at=None,
            pairing_phone=None,
            connected_at=None,
            check_at=None,
            start_at=None,
            settling_since=None,
            updated_at=func.now(),
            **_given_up_values(failure),
            **NO_CODES,
            **_reported_values(state, at or func.now()),
        )
    )
    return bool(done.rowcount)


def _given_up_values(failure: str | ColumnElement[str] | None) -> dict[str, Any]:
    final = failure is None or (isinstance(failure, str) and failure in FINAL_FAILURES)
    return {"desired_connected": False} if final else {}


def _correct_failure(tx: Connection, name: str, value: str) -> None:
    """A loss that was told otherwise before the word came that says why."""
    if value not in PAIRING_ENDINGS:
        tx.execute(
            _update_in_status(name, Status.DISCONNECTED)
            .where(sessions.c.failure.in_(GUESSED_FAILURES))
            .values(failure=ENDINGS[value], updated_at=func.now(), **_given_up_values(ENDINGS[value]))
        )


def _check_soon(tx: Connection, name: str, value: str, at: datetime) -> None:
    tx.execute(
        update(sessions)
        .where(sessions.c.session_id == name)
        .values(
            check_at=case((sessions.c.status == Status.DISCONNECTED, null()), else_=func.now()),
            **_reported_values(value, at),
        )
    )
