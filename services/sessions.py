"""The pairing state machine: connect, show what the server says, prove it, disconnect.

    desconectado ──connect──▶ pareando ──inChat / isLogged / CONNECTED──▶ conectado
         ▲                       │                                           │
         └──failure, time out────┴────closed, logged out, proved dead────────┘

A status moves only on evidence. What arrives through the URL of an earlier attempt, or contradicts a status without
proving anything, moves nothing: it makes the worker ask the server (`check_at`).

A start in four steps (`start_at`): the intent is committed; what runs on the server is looked at; it is taken over,
waited for or closed; and only then a fresh webhook secret is committed and the server asked. For one profile can be
open in one browser only: a start that meets another one hangs, and closing a start that nobody scanned leaves its
browser behind for up to a minute (measured against wppconnect-server 2.10.4).
"""

import contextlib
import hashlib
import secrets
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import structlog
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Update,
    and_,
    case,
    func,
    literal,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from services import audit, glass, servers, settings, timeline
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.db.models import Record, findings, lanes, sessions
from services.errors import (
    N_,
    ConfigurationError,
    Conflict,
    DatabaseUnavailable,
    Forbidden,
    NotFound,
    SessionBeingCleaned,
    WppDisconnected,
    WppError,
    WppOutcomeUnknown,
    WppUnreachable,
)
from services.wppconnect.answers import SessionState
from services.wppconnect.connection import client
from services.wppconnect.phone import normalise

log = structlog.get_logger(__name__)

# Lifetimes measured against wppconnect-server 2.10.4: the first QR of a start lives about 60 s, each next about 20 s.
FIRST_QR_LIFETIME = timedelta(seconds=60)
NEXT_QR_LIFETIME = timedelta(seconds=20)
# WhatsApp gives a pairing code a few minutes; the server replaces it earlier.
PHONE_CODE_LIFETIME = timedelta(minutes=3)
# autoClose ends an unscanned start, and its browser, after 60 s; what hangs longer is held by no browser any more.
START_LIFETIME = timedelta(seconds=61)
# A running start is taken over while its code can still be used for this long; else its end is waited for.
WORTH_TAKING_OVER = timedelta(seconds=20)
# Measured: after a logout the browser holds the profile for 0.5 to 2 s more, and says nothing when it is gone.
LOGOUT_ENDS_WITHIN = timedelta(seconds=3)
# What has shown no sign of life by then is given up.
PAIRING_TIMEOUT = timedelta(minutes=3)
# How long a scanned session may take to load its chats before the attempt counts as failed.
SYNC_TIMEOUT = timedelta(minutes=5)
# Measured: a session is announced 0.6 to 1.5 s before its server says CONNECTED. Until then it is "not yet", no loss.
SETTLE_TIMEOUT = timedelta(seconds=60)
# So long after a start what was closed before it may still be told of: the receiver knows a secret again for 5 s.
EARLIER_ENDS_WITHIN = timedelta(seconds=6)
# A server that was just asked may not say yet that the start runs.
START_SHOWS_WITHIN = timedelta(seconds=10)
CHECK_WHILE_PAIRING = timedelta(seconds=3)
CHECK_WHILE_SETTLING = timedelta(seconds=0.4)
CHECK_WHILE_WAITING = timedelta(seconds=1)
CHECK_AFTER_ERROR = timedelta(seconds=10)
CHECK_LEASE = timedelta(seconds=60)
CHECKS_AT_ONCE = 8
# A proof is written down at most this often, so that a busy session does not rewrite its row for each message.
PROOF_GRAIN = timedelta(seconds=30)

# A time from the event's row, or the database's own clock: the clocks of our machines never decide an order.
Moment = datetime | ColumnElement[datetime]

WEBHOOK_PATH = "/functions/v1/whatsapp-qr-webhook"


class Status(StrEnum):
    """Stored as the overview names them."""

    DISCONNECTED = "desconectado"  # nothing runs, or what ran has ended
    PAIRING = "pareando"  # a start was asked for; waiting for a scan or a code
    CONNECTED = "conectado"  # the server reported inChat / isLogged, or CONNECTED when it was asked


class Proof(StrEnum):
    """How we last knew that a session is truly up."""

    WEBHOOK = "webhook"  # the server posted inChat or isLogged: it got into WhatsApp at that moment
    QUESTION = "question"  # WhatsApp answered a question that must leave the browser (`services.questions`)
    ACK = "ack"  # WhatsApp acknowledged a message
    MESSAGE = "message"  # a message of somebody else came in
    EVENT = "event"  # a call, or somebody else's reaction or vote, came in


# What proved a session, after `por`.
PROOFS: dict[Proof | None, str] = {
    Proof.WEBHOOK: N_("entrada no WhatsApp"),
    Proof.QUESTION: N_("consulta ao WhatsApp"),
    Proof.ACK: N_("confirmação de mensagem"),
    Proof.MESSAGE: N_("mensagem recebida"),
    Proof.EVENT: N_("reação, voto ou ligação recebida"),
    None: N_("nada ainda"),
}


def proof_words(kind: str | None) -> str:
    """What proved a session, after `por`: a gettext source."""
    return PROOFS[Proof(kind) if kind else None]


# Failure code → what happened, and what to do, for the person who owns the session.
FAILURES: dict[str, tuple[str, str]] = {
    "qr_not_scanned": (
        N_("O código não foi lido a tempo."),
        N_("Deixe o celular na tela “Aparelhos conectados” e tente de novo."),
    ),
    "qr_read_failed": (
        N_("O WhatsApp não aceitou a leitura do código."),
        N_("Tente de novo com um código novo."),
    ),
    "no_answer": (
        N_("O servidor do WhatsApp não mostrou nenhum código."),
        N_("Tente de novo; se repetir, fale com o suporte."),
    ),
    "server_unreachable": (
        N_("O servidor do WhatsApp não está respondendo."),
        N_("Tente de novo em um minuto; nossa equipe já vê essa falha."),
    ),
    "server_refused": (
        N_("O servidor do WhatsApp recusou a conexão."),
        N_("Fale com o suporte: a configuração do servidor precisa ser conferida."),
    ),
    "browser_closed": (
        N_("O navegador desta conexão parou no servidor."),
        N_("Ela é religada sozinha; seu celular continua pareado."),
    ),
    "pairing_interrupted": (
        N_("O servidor interrompeu a conexão antes de ela ficar pronta."),
        N_("Tente de novo com um código novo."),
    ),
    "server_closed": (N_("O servidor do WhatsApp foi reiniciado."), N_("Conecte de novo.")),
    "phone_logged_out": (
        N_("O aparelho foi desconectado pelo celular."),
        N_("Conecte de novo e leia o código com o celular."),
    ),
    "logged_out": (
        N_("A conexão com o WhatsApp terminou."),
        N_("Conecte de novo e leia o código com o celular."),
    ),
    "closed": (N_("A conexão foi fechada no servidor."), N_("Conecte de novo.")),
    "not_ended": (
        N_("Pedimos para desconectar e o servidor não confirmou o fim."),
        N_("Desconecte de novo; se repetir, remova o aparelho pelo celular."),
    ),
    "lost": (
        N_("A conexão caiu: o WhatsApp não responde mais por ela."),
        N_("Confira se o celular está online e conecte de novo."),
    ),
}

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
# Endings after which nobody expects the session back: its owner or the phone ended it. None is our own disconnect.
FINAL = ("phone_logged_out", "logged_out")
# The guesses of whoever found a session gone before the server's own word came.
GUESSED = ("lost", "browser_closed")
# Endings of an unscanned start: they say nothing of a session that is already up.
PAIRING_ENDINGS = {"autocloseCalled", "qrReadFail", "qrReadError"}
# States in which a start is under way, so that another start-session changes nothing there.
RUNNING = {"INITIALIZING", "QRCODE", "PHONECODE"}
SHOWING_CODES = {"QRCODE", "PHONECODE"}
UP = {"inChat", "isLogged", "CONNECTED"}


@dataclass(frozen=True)
class Qr:
    """A QR that may be shown until `expires_at`; `urlcode` is the text to draw; `number` counts from 1 in this attempt.

    A server of the overview's dialect sends no text but only the picture, `png` (base64).
    """

    urlcode: str | None
    png: str | None
    received_at: datetime
    expires_at: datetime
    number: int


@dataclass(frozen=True)
class Session:
    """One user's session as its owner sees it. `status` is ours; `reported_state` is what the server says.

    `waits_until`: the start waits until then at the latest, for a browser that still holds the profile.
    `server_holds`: its server still has something that a disconnect would end.
    """

    id: UUID
    user_id: UUID
    name: str
    status: Status
    qr: Qr | None
    phone_code: str | None
    phone_code_at: datetime | None
    pairing_phone: str | None
    pairing_started_at: datetime | None
    scanned_at: datetime | None
    reported_state: str | None
    reported_at: datetime | None
    last_proof_at: datetime | None
    last_proof_kind: str | None
    connected_at: datetime | None
    phone_number: str | None
    device_name: str | None
    failure: str | None
    updated_at: datetime
    waits_until: datetime | None
    server_holds: bool


@dataclass(frozen=True)
class _Target:
    """A session on its server, as a call needs it. `attempt` is the start that the call belongs to; `phone` the number
    of a pairing by code; see migration 0040 for the times.
    """

    id: UUID
    name: str
    server_url: str
    status: Status
    attempt: datetime | None
    scanned: bool
    phone: str | None
    start_at: datetime | None
    start_asked_at: datetime | None
    start_phone: str | None
    profile_free_at: datetime | None
    settling_since: datetime | None
    ended_on_purpose_at: datetime | None
    failure: str | None
    codes_shown: bool


# --- what a person does ---------------------------------------------------------------------------------------------


def get(actor: Actor, user_id: UUID | None = None) -> Session | None:
    """The session of `user_id` (default: the actor's own), or None where they never connected.

    Raises Forbidden where it is somebody else's and the actor is no staff. For staff the QR and the code stay empty,
    but while they have broken the glass over them (`services.glass`).
    """
    owner = _owner(actor, user_id)
    with transaction(actor) as tx:
        row = tx.execute(_of(owner)).one_or_none()
        reveal = owner == actor.user_id or (actor.is_staff and glass.is_broken(tx, owner, glass.Scope.QR))
    return _session(row, reveal=reveal) if row else None


def connect(actor: Actor, user_id: UUID | None = None, phone: str | None = None) -> Session:
    """Start pairing by QR, or by phone code where `phone` is given; a session that is up stays as it is.

    A start that runs already and shows what is wanted is taken over with its webhook secret, and so is a session that
    its server has up; one that shows another kind of code is waited for (`Session.waits_until`). Raises InvalidPhone,
    Forbidden, SessionBeingCleaned while the data of its last connection are being deleted, NoServerAvailable, or the
    WppError of the call (the row then says `desconectado` with the reason). Where the outcome is unknown the row stays
    `pareando`: the worker finds out.
    """
    owner = _owner(actor, user_id)
    digits = normalise(phone) if phone else None
    _begin(actor, owner, digits, "session.connect")
    return _require(actor, owner)


def reconnect(actor: Actor, user_id: UUID | None = None) -> Session:
    """Close what is up on the server, without unpairing the phone, and start it again, by phone code where it was.

    Raises as `connect`.
    """
    owner = _owner(actor, user_id)
    target = _target_of(actor, owner)
    _begin(actor, owner, target.phone if target else None, "session.restart", close_first=True)
    return _require(actor, owner)


def disconnect(actor: Actor, user_id: UUID | None = None) -> Session:
    """End the session on its server (a connected one is unpaired), check that it ended, and say `desconectado`.

    A pairing is only given up: its start ends by itself, and closing it would lock the profile for a minute. Doing it
    twice is the same as once. On a server that is configured no longer nothing can be ended: it is not called, and the
    session is only called ended. Raises NotFound without a session, Forbidden, the WppError of the call, or
    WppOutcomeUnknown where the server still reports the session as up.
    """
    owner = _owner(actor, user_id)
    target = _target_of(actor, owner)
    if target is None:
        raise NotFound(f"no session of {owner}")
    only_pairs = target.status is Status.PAIRING and not target.scanned
    try:
        if not only_pairs and servers.is_configured(target.server_url):
            _unpair(target)
    except WppError as error:
        # One that is up must not be called ended while it is not.
        if target.status is Status.CONNECTED or not error.safe_to_retry:
            _note_unfinished(actor, target)
            raise
    with transaction(actor) as tx:
        _stop(tx, target, None, now_free=only_pairs)
        _note_for_other(tx, actor, owner, target.id, "session.disconnect")
    return _require(actor, owner)


def close(actor: Actor, user_id: UUID | None = None) -> Session:
    """Stop the session on its server and leave it stopped; the phone stays paired.

    A pairing is only given up, as by `disconnect`, and one that is coming up is closed by the worker once it is up:
    closing it before that would leave its browser behind. Raises as `disconnect`.
    """
    owner = _owner(actor, user_id)
    target = _target_of(actor, owner)
    if target is None:
        raise NotFound(f"no session of {owner}")
    only_pairs = target.status is Status.PAIRING and not target.scanned
    comes_up = not only_pairs and client().status_session(target.server_url, target.name).status in RUNNING
    if not only_pairs and not comes_up:
        client().close_session(target.server_url, target.name)
        _refuse_if_up(target)
    with transaction(actor) as tx:
        _stop(tx, target, "closed", now_free=not comes_up)
        _note_for_other(tx, actor, owner, target.id, "session.close")
    return _require(actor, owner)


def move(actor: Actor, server_url: str, user_id: UUID | None = None) -> Session:
    """Take the session off its server and start it on another one, where the phone must be paired anew.

    A server that cannot be reached does not hold it back. Raises ConfigurationError for a server that is no configured
    one, NotFound without a session, and as `connect`.
    """
    owner = _owner(actor, user_id)
    if not servers.is_configured(server_url):
        raise ConfigurationError("WPP_SERVER_URL: the session's server is not a configured one")
    target = _target_of(actor, owner)
    if target is None:
        raise NotFound(f"no session of {owner}")
    try:
        if servers.is_configured(target.server_url):
            _unpair(target)
    except WppError as error:
        if not error.safe_to_retry:
            raise
        log.warning("moved_without_ending", session=target.name, error=type(error).__name__)
    with transaction(actor) as tx:
        _end(tx, target.name, None)
        tx.execute(
            update(sessions)
            .where(sessions.c.id == target.id)
            .values(server_url=server_url, start_asked_at=None, profile_free_at=None)
        )
        _note_for_other(tx, actor, owner, target.id, "session.move")
    return connect(actor, owner)


def server_holds(status: Status, reported_state: str | None, phone_number: str | None, failure: str | None) -> bool:
    """Whether a session's server still has something of it that a disconnect would end: it runs, or is still paired."""
    if status is not Status.DISCONNECTED or reported_state == "CONNECTED" or failure == "not_ended":
        return True
    return phone_number is not None and failure is not None and failure not in FINAL


def webhook_url(secret: str, name: str) -> str:
    """The URL that a session's server posts to. User info is the only credential the stock server can send."""
    parts = urlsplit(settings.get().public_webhook_url)
    address = parts.netloc.rpartition("@")[2]
    return urlunsplit(
        (parts.scheme, f"wpp:{secret}@{address}", f"{parts.path.rstrip('/')}{WEBHOOK_PATH}/{name}", "", "")
    )


def secret_hash(secret: str) -> bytes:
    """What is stored of a webhook secret: it has 192 random bits, so a plain SHA-256 is enough."""
    return hashlib.sha256(secret.encode()).digest()


# --- what the server reports (called inside the transaction that handles the event) -----------------------------------


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
        _in_status(name, Status.PAIRING)
        .where(fresh)
        .values(
            qr_urlcode=urlcode,
            qr_code=png,
            qr_received_at=received_at,
            qr_expires_at=received_at + lifetime,
            qr_count=sessions.c.qr_count + 1,
            **_reported("QRCODE", received_at),
        )
    )


def show_phone_code(tx: Connection, name: str, code: str, received_at: Moment) -> None:
    """Show a pairing code; only the newest is ever shown."""
    tx.execute(
        _in_status(name, Status.PAIRING)
        .where(
            sessions.c.start_at.is_(None),
            received_at >= sessions.c.pairing_started_at,
            func.coalesce(sessions.c.phone_code_at < received_at, True),
            sessions.c.phone_code.is_distinct_from(code),
        )
        .values(phone_code=code, phone_code_at=received_at, **_reported("PHONECODE", received_at))
    )


def report_status(tx: Connection, name: str, value: str, received_at: datetime, *, current: bool) -> None:
    """Take in one `status-find` value, or the name of a closing event.

    `current` tells whether it came through the URL of the newest attempt. Whatever is not evidence for a change makes
    the worker ask the server.
    """
    if value == "browserClose":
        tx.execute(update(sessions).where(sessions.c.session_id == name).values(profile_free_at=None))
    if value == "qrReadSuccess":
        _scanned(tx, name, received_at)
    elif value in UP and current:
        _up(tx, name, received_at)
    elif value in ENDINGS and current:
        ended = _end(tx, name, _failure_of(value), received_at, only=_ends(value, received_at))
        if not ended:
            _explain(tx, name, value)
            _ask_soon(tx, name, value, received_at)
    else:
        _ask_soon(tx, name, value, received_at)


def prove(tx: Connection, name: str, kind: Proof, at: datetime) -> None:
    """Note that a session showed itself alive at `at`; never moves backwards, and at most every 30 s."""
    tx.execute(
        update(sessions)
        .where(
            sessions.c.session_id == name,
            sessions.c.status == Status.CONNECTED,
            func.coalesce(sessions.c.last_proof_at < at - PROOF_GRAIN, True),
        )
        .values(last_proof_at=at, last_proof_kind=kind, last_activity=at)
    )


def webhook_secret_used(tx: Connection, name: str) -> None:
    """The server has used the newest secret: from now on the earlier one is worth nothing after its grace."""
    tx.execute(
        update(sessions)
        .where(sessions.c.session_id == name, sessions.c.webhook_secret_used_at.is_(None))
        .values(webhook_secret_used_at=func.now())
    )


def lose(tx: Connection, name: str, attempt: datetime | None) -> bool:
    """Say that a session which was up by the start `attempt` is not; False where it has moved on since."""
    same = and_(sessions.c.status == Status.CONNECTED, sessions.c.pairing_started_at.is_not_distinct_from(attempt))
    return _end(tx, name, "lost", only=same)


def id_of(tx: Connection, name: str) -> UUID | None:
    """The row of a session name, or None."""
    found: UUID | None = tx.execute(select(sessions.c.id).where(sessions.c.session_id == name)).scalar_one_or_none()
    return found


def ids_of(tx: Connection, names: Collection[str]) -> dict[str, UUID]:
    """The rows of session names, of those that there are."""
    found = tx.execute(select(sessions.c.session_id, sessions.c.id).where(sessions.c.session_id.in_(names)))
    return {row.session_id: row.id for row in found.all()}


# --- what the worker asks ---------------------------------------------------------------------------------------------


def tend(limit: int = 50) -> int:
    """Ask the servers about every session whose `check_at` is due; returns how many were asked.

    Sessions that pair or gave contradictory signs are due at once; those that are up each `health_page_seconds`,
    because nothing is posted when a page crashes.
    """
    period = timedelta(seconds=settings.get().health_page_seconds)
    with transaction(SYSTEM) as tx:
        due = (
            select(sessions.c.id)
            .where(sessions.c.check_at <= func.now())
            .order_by(sessions.c.check_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        settled = and_(sessions.c.status == Status.CONNECTED, sessions.c.settling_since.is_(None))
        rows = tx.execute(
            update(sessions)
            .where(sessions.c.id.in_(due))
            .values(check_at=func.now() + case((settled, period), else_=CHECK_LEASE))
            .returning(*_TARGET_COLUMNS)
        ).all()
        away = _servers_away(tx)
    # A page on a server that does not answer is asked about once the server does (`findings.server_up`).
    asked = [_target(row) for row in rows if not (row.server_url in away and _is_settled(row))]
    if asked:
        with ThreadPoolExecutor(min(len(asked), CHECKS_AT_ONCE), thread_name_prefix="check") as pool:
            list(pool.map(_check, asked))
    return len(rows)


def ask_everybody() -> int:
    """Have the servers asked about every session that is not down, as after a restore; returns how many there are."""
    with transaction(SYSTEM) as tx:
        done = tx.execute(update(sessions).where(sessions.c.status != Status.DISCONNECTED).values(check_at=func.now()))
    return int(done.rowcount)


def _servers_away(tx: Connection) -> set[str]:
    known = select(findings.c.server_url).where(findings.c.session_id.is_(None), findings.c.ended_at.is_(None))
    return set(tx.execute(known).scalars())


def _is_settled(row: Record) -> bool:
    return row.status == Status.CONNECTED and row.settling_since is None


@contextlib.contextmanager
def asked_if_disconnected(actor: Actor, name: str) -> Iterator[None]:
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
    with transaction(SYSTEM) as tx:
        seconds = tx.execute(
            select(func.extract("epoch", func.min(sessions.c.check_at) - func.now())).where(
                sessions.c.check_at.is_not(None)
            )
        ).scalar_one()
    return None if seconds is None else max(float(seconds), 0.0)


def _check(target: _Target) -> None:
    try:
        if target.start_at is not None:
            _go_on_with_start(target)
        elif target.status is Status.CONNECTED:
            _check_up(target)
        elif target.status is Status.PAIRING:
            _check_pairing(target)
        else:
            _check_ended(target)
    except (WppError, ConfigurationError) as error:
        log.info("check_failed", session=target.name, error=type(error).__name__)
        with transaction(SYSTEM) as tx:
            _give_up_or_wait(tx, target, "server_unreachable", CHECK_AFTER_ERROR)


def _check_up(target: _Target) -> None:
    """A session that is up: its page lives, its server is still bringing it up, or it is lost."""
    if client().check_connection(target.server_url, target.name):
        if target.settling_since is not None:
            _settle(target)
        return
    state = client().status_session(target.server_url, target.name)
    # It may have come up between the two questions.
    if state.status == "CONNECTED" and client().check_connection(target.server_url, target.name):
        _settle(target)
        return
    with transaction(SYSTEM) as tx:
        if state.status == "CONNECTED":
            # Measured: it says so for ever after its Chrome has died or its page has crashed.
            _end(tx, target.name, "browser_closed", only=_as_read(target), state=state.status)
        elif state.status in RUNNING and not _settled_too_long(target, state.status):
            since = func.coalesce(sessions.c.settling_since, func.now())
            _update(tx, target, settling_since=since, check_at=func.now() + CHECK_WHILE_SETTLING)
        else:
            failure = "logged_out" if state.status in SHOWING_CODES else "lost"
            _end(tx, target.name, failure, only=_as_read(target), state=state.status)


def _settled_too_long(target: _Target, state: str) -> bool:
    """Codes are "not yet" only after the session was announced; a start shows itself before that."""
    if target.settling_since is None:
        return state in SHOWING_CODES
    return datetime.now(UTC) > target.settling_since + SETTLE_TIMEOUT


def _settle(target: _Target) -> None:
    """The server has it up now: read whose it is, which is no proof of life."""
    try:
        number = client().phone_number(target.server_url, target.name)
        device = client().host_device(target.server_url, target.name)
    except WppDisconnected:
        with transaction(SYSTEM) as tx:
            _update(tx, target, check_at=func.now() + CHECK_WHILE_SETTLING)
        return
    with transaction(SYSTEM) as tx:
        _update(
            tx,
            target,
            phone_number=number,
            device_name=device.pushname or device.platform,
            check_at=func.now() + timedelta(seconds=settings.get().health_page_seconds),
            last_activity=func.now(),
            **_connected(func.now()),
            settling_since=None,
        )


def _check_pairing(target: _Target) -> None:
    state = client().status_session(target.server_url, target.name)
    if state.status == "CONNECTED":
        if client().check_connection(target.server_url, target.name):
            _settle(target)
            return
        with transaction(SYSTEM) as tx:
            _end(tx, target.name, "browser_closed", only=_as_read(target), state=state.status)
        return
    with transaction(SYSTEM) as tx:
        _show_codes(tx, target, state)
        given_up = _give_up_or_wait(
            tx, target, "no_answer", CHECK_WHILE_SETTLING if target.scanned else CHECK_WHILE_PAIRING, state.status
        )
    if given_up and state.status in RUNNING:
        # Or it goes on making codes that nobody is shown.
        client().close_session(target.server_url, target.name)


def _check_ended(target: _Target) -> None:
    """A session that ended gives signs of life: it is up after all, or comes back though it was stopped."""
    state = client().status_session(target.server_url, target.name)
    alive = state.status == "CONNECTED" and client().check_connection(target.server_url, target.name)
    stopped = target.ended_on_purpose_at is not None
    if alive and not stopped:
        _settle(target)
        return
    if alive:
        (client().logout_session if target.failure is None else client().close_session)(target.server_url, target.name)
        log.info("stopped_session_ended_again", session=target.name)
    comes_back = state.status in RUNNING and target.settling_since is not None
    with transaction(SYSTEM) as tx:
        _report(tx, target, "CLOSED" if alive else state.status, func.clock_timestamp())
        waits = comes_back and not _settled_too_long(target, state.status)
        _update(
            tx,
            target,
            check_at=func.now() + CHECK_WHILE_WAITING if waits else None,
            profile_free_at=func.now() + LOGOUT_ENDS_WITHIN if alive else sessions.c.profile_free_at,
        )


def _give_up_or_wait(tx: Connection, target: _Target, failure: str, wait: timedelta, state: str | None = None) -> bool:
    """Ask again after `wait`; or, where a pairing has had its time or the server has ended it (`state`), say so."""
    now = datetime.now(UTC)
    timeout = SYNC_TIMEOUT if target.scanned else PAIRING_TIMEOUT
    asked = target.start_asked_at
    ended = state == "CLOSED" and asked is not None and now > asked + START_SHOWS_WITHIN
    expired = target.attempt is not None and now > target.attempt + timeout
    if target.status is Status.PAIRING and (expired or ended):
        shown = "pairing_interrupted" if target.scanned else "qr_not_scanned"
        return _end(tx, target.name, shown if target.codes_shown or target.scanned else failure, only=_as_read(target))
    _update(tx, target, check_at=func.now() + wait)
    return False


# --- one start on the server ------------------------------------------------------------------------------------------


def _begin(actor: Actor, owner: UUID, phone: str | None, action: str, *, close_first: bool = False) -> None:
    """Commit that a start is wanted and bring it as far as it goes now; with `close_first` also of one that is up."""
    with transaction(actor) as tx:
        server_url, left = _placed(tx, owner, also_up=close_first)
        target = _begin_pairing(tx, owner, phone, server_url, also_up=close_first)
        if target is not None:
            _note_for_other(tx, actor, owner, target.id, action)
    if target is None:
        return
    if left is not None:
        _leave(left, target.name)
    try:
        _advance(actor, target, close_first=close_first)
    except WppOutcomeUnknown:
        with transaction(actor) as tx:
            _try_later(tx, target, CHECK_WHILE_PAIRING)
    except WppError as error:
        with transaction(actor) as tx:
            _end(tx, target.name, _refusal(error), only=_as_read(target))
        raise


def _go_on_with_start(target: _Target) -> None:
    """The worker's part of a start that had to wait; whoever else is at it holds the lease."""
    with transaction(SYSTEM) as tx:
        lease = func.now() + CHECK_LEASE
        free = and_(_as_read(target), sessions.c.start_at <= func.now())
        if not tx.execute(update(sessions).where(free).values(start_at=lease, check_at=lease)).rowcount:
            _update(tx, target, check_at=sessions.c.start_at)
            return
    try:
        _advance(SYSTEM, target)
    except (WppOutcomeUnknown, WppUnreachable):
        with transaction(SYSTEM) as tx:
            _try_later(tx, target, CHECK_WHILE_PAIRING)
            _give_up_or_wait(tx, target, "server_unreachable", CHECK_WHILE_PAIRING)
    except WppError as error:
        log.warning("start_refused", session=target.name, error=type(error).__name__)
        with transaction(SYSTEM) as tx:
            _end(tx, target.name, _refusal(error), only=_as_read(target))


def _advance(actor: Actor, target: _Target, *, close_first: bool = False) -> None:
    """Take over what runs, wait for what must end, or close it; only then ask for the start. Raises WppError."""
    state = client().status_session(target.server_url, target.name)
    if state.status == "CONNECTED":
        living = client().check_connection(target.server_url, target.name)
        if living and not close_first:
            _take_over(actor, target, state)
            return
        client().close_session(target.server_url, target.name)
        _refuse_if_up(target)
    elif state.status in RUNNING:
        if _worth_taking_over(target, state):
            _take_over(actor, target, state)
            return
        if datetime.now(UTC) < _runs_until(target, state):
            with transaction(actor) as tx:
                _report(tx, target, state.status, func.clock_timestamp())
                _update(tx, target, **_NO_CODES)
                _try_later(tx, target, CHECK_WHILE_WAITING)
            return
        client().close_session(target.server_url, target.name)
    elif target.profile_free_at is not None and target.profile_free_at > datetime.now(UTC):
        with transaction(actor) as tx:
            _try_later(tx, target, target.profile_free_at - datetime.now(UTC))
        return
    _ask_to_start(actor, target)


def _worth_taking_over(target: _Target, state: SessionState) -> bool:
    """A start of the wanted kind that still has time, or whose age nobody knows (a server that restarted began it)."""
    by_code = {"QRCODE": False, "PHONECODE": True}.get(state.status, target.start_phone is not None)
    if by_code != (target.phone is not None) or (by_code and target.start_phone != target.phone):
        return False
    # A code is known only from its own start.
    if state.status == "PHONECODE" and (_start_ended(target) or not target.codes_shown):
        return False
    if _start_ended(target):
        return state.status == "QRCODE"
    age = datetime.now(UTC) - _as_time(target.start_asked_at)
    # What shows nothing for long may have met a locked profile.
    return age < (START_LIFETIME - WORTH_TAKING_OVER if state.status in SHOWING_CODES else START_SHOWS_WITHIN)


def _start_ended(target: _Target) -> bool:
    """The start that we asked for last has had its time, so that what runs is another one, or hangs."""
    return target.start_asked_at is None or datetime.now(UTC) > target.start_asked_at + START_LIFETIME


def _runs_until(target: _Target, state: SessionState) -> datetime:
    """When what runs has ended by itself at the latest; what goes on after that hangs."""
    if not _start_ended(target):
        return _as_time(target.start_asked_at) + START_LIFETIME
    return _as_time(target.attempt) + (START_LIFETIME if state.status in SHOWING_CODES else START_SHOWS_WITHIN)


def _as_time(moment: datetime | None) -> datetime:
    return moment or datetime.now(UTC)


def _take_over(actor: Actor, target: _Target, state: SessionState) -> None:
    """What runs is what is wanted: its webhook address, and so its secret, stay as they are."""
    with transaction(actor) as tx:
        again = func.now() if state.status == "CONNECTED" else func.now() + CHECK_WHILE_PAIRING
        _update(tx, target, start_at=None, check_at=again)
        _report(tx, target, state.status, func.clock_timestamp())
        _show_codes(tx, target, state)
        _shorten_qr(tx, target)


def _shorten_qr(tx: Connection, target: _Target) -> None:
    """The QR of a start that was taken over lives no longer than that start."""
    ends = NEXT_QR_LIFETIME + datetime.now(UTC) if _start_ended(target) else None
    limit = ends or (_as_time(target.start_asked_at) + FIRST_QR_LIFETIME)
    shown = sessions.c.qr_expires_at.is_not(None)
    _update(tx, target, qr_expires_at=case((shown, func.least(sessions.c.qr_expires_at, limit)), else_=None))


def _try_later(tx: Connection, target: _Target, wait: timedelta) -> None:
    """Look at the start again after `wait`; one that was asked for meanwhile is only checked then."""
    later = func.now() + wait
    _update(tx, target, start_at=case((sessions.c.start_at.is_not(None), later), else_=None), check_at=later)


def _ask_to_start(actor: Actor, target: _Target) -> None:
    secret = secrets.token_urlsafe(24)
    with transaction(actor) as tx:
        begun = tx.execute(
            update(sessions)
            .where(_as_read(target), sessions.c.start_at.is_not(None))
            .values(
                webhook_secret_hash=secret_hash(secret),
                start_at=None,
                start_asked_at=func.clock_timestamp(),
                start_phone=target.phone,
                profile_free_at=None,
                check_at=func.now() + CHECK_WHILE_PAIRING,
                **_NO_CODES,
            )
        )
    if not begun.rowcount:
        return
    # A code is worth waiting for: unlike a QR it cannot be asked for again where its webhook is lost.
    state = client().start_session(
        target.server_url,
        target.name,
        webhook_url(secret, target.name),
        phone=target.phone,
        wait_qr=target.phone is not None,
    )
    with transaction(actor) as tx:
        _report(tx, target, state.status, func.clock_timestamp())
        _show_codes(tx, target, state)


def _refusal(error: WppError) -> str:
    return "server_unreachable" if error.safe_to_retry else "server_refused"


def _placed(tx: Connection, owner: UUID, *, also_up: bool) -> tuple[str, str | None]:
    """The server for this start, by the rule in `servers`, and the one that still holds something of the session and
    is left for it."""
    row = tx.execute(select(*_PLACE_COLUMNS).where(sessions.c.user_id == owner)).one_or_none()
    if row is not None and row.status == Status.CONNECTED and not also_up:
        return row.server_url, None  # it is up, so nothing is started
    holds = row is not None and (row.phone_number is not None or row.status != Status.DISCONNECTED)
    home = row.server_url if row is not None and holds else None
    server_url = servers.choose(tx, home)
    return server_url, home if home != server_url else None


def _leave(server_url: str, name: str) -> None:
    """Unpair and delete what a session left on its earlier server, or a restart there would bring a second one up.

    A server that is away keeps it; one that is not configured is not asked.
    """
    try:
        if not client().logout_session(server_url, name):
            client().close_session(server_url, name)
            client().clear_session_data(server_url, name)
    except (WppError, ConfigurationError) as error:
        log.warning("session_left_behind", session=name, error=type(error).__name__)


def _begin_pairing(tx: Connection, owner: UUID, phone: str | None, server_url: str, *, also_up: bool) -> _Target | None:
    """Write the intent down, leased to the caller; None where the session is up already."""
    name = f"user_{owner}"
    tx.execute(
        insert(sessions)
        .values(user_id=owner, session_id=name, status=Status.DISCONNECTED, server_url=server_url)
        .on_conflict_do_nothing()
    )
    stays = sessions.c.server_url == server_url
    # The server does not tell a code again: what takes its start over goes on showing it.
    same_code = and_(stays, sessions.c.status == Status.PAIRING, sessions.c.start_phone == phone)
    row = tx.execute(
        update(sessions)
        .where(
            sessions.c.user_id == owner,
            or_(sessions.c.status != Status.CONNECTED, literal(also_up)),
            ~_being_cleaned(),
        )
        .values(
            status=Status.PAIRING,
            server_url=server_url,
            pairing_started_at=func.clock_timestamp(),
            pairing_phone=phone,
            scanned_at=None,
            failure=None,
            connected_at=None,
            reported_state=None,
            start_at=func.now() + CHECK_LEASE,
            start_asked_at=case((stays, sessions.c.start_asked_at), else_=None),
            profile_free_at=case((stays, sessions.c.profile_free_at), else_=None),
            settling_since=None,
            ended_on_purpose_at=None,
            check_at=func.now() + CHECK_LEASE,
            updated_at=func.now(),
            **_NO_CODES
            | {
                "phone_code": case((same_code, sessions.c.phone_code), else_=None),
                "phone_code_at": case((same_code, sessions.c.phone_code_at), else_=None),
            },
        )
        .returning(*_TARGET_COLUMNS)
    ).one_or_none()
    if row is None:
        _refuse_while_cleaned(tx, owner)
        return None
    tx.execute(insert(lanes).values(session_id=row.id).on_conflict_do_nothing())
    return _target(row)


def _refuse_while_cleaned(tx: Connection, owner: UUID) -> None:
    """What is being deleted on the server may not begin again there until it is gone."""
    leased = select(sessions.c.id).where(sessions.c.user_id == owner, sessions.c.status != Status.CONNECTED)
    if tx.execute(leased.where(_being_cleaned())).first():
        raise SessionBeingCleaned(f"session of {owner}")


def _show_codes(tx: Connection, target: _Target, state: SessionState) -> None:
    now = func.clock_timestamp()
    if state.status == "QRCODE" and state.urlcode:
        show_qr(tx, target.name, state.urlcode, state.qrcode, now)
    elif state.phone_code:
        show_phone_code(tx, target.name, state.phone_code, now)


def _report(tx: Connection, target: _Target, state: str, at: Moment) -> None:
    _update(tx, target, **_reported(state, at))


def _update(tx: Connection, target: _Target, **values: Any) -> None:
    """Change the row unless somebody has started, connected or ended the session since `target` was read."""
    tx.execute(update(sessions).where(_as_read(target)).values(**values))


def _unpair(target: _Target) -> None:
    """Log the session out; where nothing lives that could be, close it and delete its data. Raises WppError.

    One that is just coming up can only be logged out then: the worker does it.
    """
    if not client().logout_session(target.server_url, target.name):
        state = client().status_session(target.server_url, target.name)
        if state.status in RUNNING:
            return
        client().close_session(target.server_url, target.name)
        client().clear_session_data(target.server_url, target.name)
    _refuse_if_up(target)


def _stop(tx: Connection, target: _Target, failure: str | None, *, now_free: bool) -> None:
    """Somebody ended it on purpose. `now_free`: no browser that is ending holds its profile."""
    paired = and_(literal(failure is None and now_free), sessions.c.phone_number.is_not(None))
    _end(tx, target.name, case((paired, "closed"), else_=failure))
    tx.execute(
        update(sessions)
        .where(sessions.c.id == target.id)
        .values(
            wants_up=False,
            ended_on_purpose_at=func.now(),
            settling_since=None if now_free else func.now(),
            profile_free_at=None if now_free else func.now() + LOGOUT_ENDS_WITHIN,
            check_at=None if now_free else func.now() + CHECK_WHILE_WAITING,
        )
    )


def _refuse_if_up(target: _Target) -> None:
    """Closing and logging out may say that they worked and yet not have."""
    state = client().status_session(target.server_url, target.name)
    if state.status == "CONNECTED":
        raise WppOutcomeUnknown(f"{target.name} is still reported as up after its end")


# --- statements and rows ----------------------------------------------------------------------------------------------

_NO_CODES: dict[str, Any] = {
    "qr_code": None,
    "qr_urlcode": None,
    "qr_received_at": None,
    "qr_expires_at": None,
    "qr_count": 0,
    "phone_code": None,
    "phone_code_at": None,
}
_PLACE_COLUMNS = (sessions.c.server_url, sessions.c.status, sessions.c.phone_number)
_TARGET_COLUMNS = (
    sessions.c.id,
    sessions.c.session_id,
    sessions.c.server_url,
    sessions.c.status,
    sessions.c.pairing_started_at,
    sessions.c.scanned_at,
    sessions.c.pairing_phone,
    sessions.c.start_at,
    sessions.c.start_asked_at,
    sessions.c.start_phone,
    sessions.c.profile_free_at,
    sessions.c.settling_since,
    sessions.c.ended_on_purpose_at,
    sessions.c.failure,
    sessions.c.qr_count,
    sessions.c.phone_code,
)
_OWN_COLUMNS = (
    *_TARGET_COLUMNS,
    sessions.c.user_id,
    sessions.c.qr_urlcode,
    sessions.c.qr_code,
    sessions.c.qr_received_at,
    sessions.c.qr_expires_at,
    sessions.c.phone_code_at,
    sessions.c.reported_state,
    sessions.c.reported_at,
    sessions.c.last_proof_at,
    sessions.c.last_proof_kind,
    sessions.c.connected_at,
    sessions.c.phone_number,
    sessions.c.device_name,
    sessions.c.updated_at,
)


def _reported(state: str, at: Moment) -> dict[str, Any]:
    return {"reported_state": state, "reported_at": at}


def _connected(at: Any) -> dict[str, Any]:
    return {
        "status": Status.CONNECTED,
        "wants_up": True,
        "connected_at": func.coalesce(sessions.c.connected_at, at),
        "reported_state": "CONNECTED",
        "reported_at": at,
        "failure": None,
        "updated_at": func.now(),
        "scanned_at": None,
        "pairing_phone": None,
        "start_at": None,
        "ended_on_purpose_at": None,
        **_NO_CODES,
    }


def _proven_by_server(at: Any) -> dict[str, Any]:
    return {"last_proof_at": at, "last_proof_kind": Proof.WEBHOOK, "last_activity": at}


def _of(owner: UUID) -> Select[Any]:
    return select(*_OWN_COLUMNS).where(sessions.c.user_id == owner)


def _in_status(name: str, *statuses: Status) -> Update:
    return update(sessions).where(sessions.c.session_id == name, sessions.c.status.in_(statuses))


def _note_unfinished(actor: Actor, target: _Target) -> None:
    """An end that was asked for and not confirmed: the session counts as it did, and the row says so."""
    with transaction(actor) as tx:
        tx.execute(update(sessions).where(_as_read(target)).values(failure="not_ended", updated_at=func.now()))


def _as_read(target: _Target) -> Any:
    """True while nobody has started, connected or ended the session since `target` was read."""
    return and_(
        sessions.c.id == target.id,
        sessions.c.status == target.status,
        sessions.c.pairing_started_at.is_not_distinct_from(target.attempt),
    )


def _ends(value: str, received_at: datetime) -> Any:
    """Which statuses an ending may end: an unscanned start's ending says nothing of a session that is up, and none of a
    start that was not asked for yet, or just now: what was closed before it may say so only then. That is asked about.
    """
    begun = func.coalesce(sessions.c.start_asked_at + EARLIER_ENDS_WITHIN <= received_at, True)
    pairs = and_(sessions.c.status == Status.PAIRING, sessions.c.start_at.is_(None), begun)
    if value in PAIRING_ENDINGS:
        return pairs
    up = sessions.c.status == Status.CONNECTED
    return or_(pairs, and_(up, begun) if value in ("browserClose", "closesession") else up)


def _failure_of(value: str) -> str | ColumnElement[str]:
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


def _being_cleaned() -> ColumnElement[bool]:
    """A clean-up holds the session; the lease ends by itself where the cleaner died."""
    return func.coalesce(sessions.c.cleaning_until > func.clock_timestamp(), False)


def _scanned(tx: Connection, name: str, at: datetime) -> None:
    tx.execute(
        _in_status(name, Status.PAIRING)
        .where(at >= sessions.c.pairing_started_at)
        .values(scanned_at=at, start_at=None, check_at=func.now(), **_NO_CODES, **_reported("qrReadSuccess", at))
    )
    # Whoever gave a pairing up and then reads its code all the same wants it.
    tx.execute(_in_status(name, Status.DISCONNECTED).values(ended_on_purpose_at=None))


def _up(tx: Connection, name: str, at: datetime) -> None:
    """Pairing or up becomes up; one that ended is asked first, because news of its life may simply be late."""
    soon = {"settling_since": at, "check_at": func.now()}
    tx.execute(_in_status(name, Status.PAIRING).values(**_proven_by_server(at), **_connected(at), **soon))
    tx.execute(_in_status(name, Status.DISCONNECTED).values(**_reported("CONNECTED", at), **soon))
    tx.execute(_in_status(name, Status.CONNECTED).values(**soon))
    prove(tx, name, Proof.WEBHOOK, at)


def _end(
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
            **_given_up(failure),
            **_NO_CODES,
            **_reported(state, at or func.now()),
        )
    )
    return bool(done.rowcount)


def _given_up(failure: str | ColumnElement[str] | None) -> dict[str, Any]:
    final = failure is None or (isinstance(failure, str) and failure in FINAL)
    return {"wants_up": False} if final else {}


def _explain(tx: Connection, name: str, value: str) -> None:
    """A loss that was told otherwise before the word came that says why."""
    if value not in PAIRING_ENDINGS:
        tx.execute(
            _in_status(name, Status.DISCONNECTED)
            .where(sessions.c.failure.in_(GUESSED))
            .values(failure=ENDINGS[value], updated_at=func.now(), **_given_up(ENDINGS[value]))
        )


def _ask_soon(tx: Connection, name: str, value: str, at: datetime) -> None:
    tx.execute(
        update(sessions)
        .where(sessions.c.session_id == name)
        .values(
            check_at=case((sessions.c.status == Status.DISCONNECTED, null()), else_=func.now()),
            **_reported(value, at),
        )
    )


def _owner(actor: Actor, user_id: UUID | None) -> UUID:
    owner = user_id or actor.user_id
    if owner is None or (owner != actor.user_id and not actor.is_staff and actor != SYSTEM):
        if actor.user_id is not None:
            audit.refused(actor, "cross_tenant", f"user_{owner}")
        raise Forbidden(f"session of {owner}")
    return owner


def _require(actor: Actor, owner: UUID) -> Session:
    session = get(actor, owner)
    if session is None:
        raise Conflict(f"session of {owner} is gone")
    return session


def _target_of(actor: Actor, owner: UUID) -> _Target | None:
    with transaction(actor) as tx:
        row = tx.execute(select(*_TARGET_COLUMNS).where(sessions.c.user_id == owner)).one_or_none()
    return _target(row) if row else None


def _note_for_other(tx: Connection, actor: Actor, owner: UUID, session_id: UUID, action: str) -> None:
    """What staff do to somebody's session stands in the audit log and in the session's own timeline."""
    if actor.is_staff and owner != actor.user_id:
        audit.record(tx, actor, action, f"user_{owner}")
        timeline.note(tx, session_id, owner, timeline.Kind.STAFF, action)


def _target(row: Record) -> _Target:
    return _Target(
        id=row.id,
        name=row.session_id,
        server_url=row.server_url,
        status=Status(row.status),
        attempt=row.pairing_started_at,
        scanned=row.scanned_at is not None,
        phone=row.pairing_phone,
        start_at=row.start_at,
        start_asked_at=row.start_asked_at,
        start_phone=row.start_phone,
        profile_free_at=row.profile_free_at,
        settling_since=row.settling_since,
        ended_on_purpose_at=row.ended_on_purpose_at,
        failure=row.failure,
        codes_shown=row.qr_count > 0 or row.phone_code is not None,
    )


def _session(row: Record, *, reveal: bool) -> Session:
    qr = None
    if reveal and row.qr_expires_at and row.qr_expires_at > datetime.now(UTC):
        qr = Qr(row.qr_urlcode, row.qr_code, row.qr_received_at, row.qr_expires_at, row.qr_count)
    return Session(
        id=row.id,
        user_id=row.user_id,
        name=row.session_id,
        status=Status(row.status),
        qr=qr,
        phone_code=row.phone_code if reveal else None,
        phone_code_at=row.phone_code_at,
        pairing_phone=row.pairing_phone if reveal else None,
        pairing_started_at=row.pairing_started_at,
        scanned_at=row.scanned_at,
        reported_state=row.reported_state,
        reported_at=row.reported_at,
        last_proof_at=row.last_proof_at,
        last_proof_kind=row.last_proof_kind,
        connected_at=row.connected_at,
        phone_number=row.phone_number,
        device_name=row.device_name,
        failure=row.failure,
        updated_at=row.updated_at,
        waits_until=_waits_until(row),
        server_holds=server_holds(Status(row.status), row.reported_state, row.phone_number, row.failure),
    )


def _waits_until(row: Record) -> datetime | None:
    if row.start_at is None:
        return None
    started = row.start_asked_at + START_LIFETIME if row.start_asked_at else None
    until: datetime | None = row.profile_free_at or started
    return until if until is not None and until > datetime.now(UTC) else None
