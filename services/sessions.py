"""The pairing state machine: connect, show what the server says, prove it, disconnect.

    desconectado ──connect──▶ pareando ──inChat / isLogged, or a proof──▶ conectado
         ▲                       │                                           │
         └──failure, time out────┴────closed, logged out, proved dead────────┘

A status moves only on evidence. What arrives through the URL of an earlier attempt, or contradicts a status without
proving anything, moves nothing: it makes the worker ask the server (`check_at`).
"""

import hashlib
import secrets
from collections.abc import Collection
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
    null,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from services import audit, glass, servers, settings, timeline
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.db.models import Record, lanes, sessions
from services.errors import (
    N_,
    ConfigurationError,
    Conflict,
    Forbidden,
    NotFound,
    SessionBeingCleaned,
    WppDisconnected,
    WppError,
    WppOutcomeUnknown,
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
# autoClose ends an unscanned start after 60 s; what has shown no sign of life by then is given up.
PAIRING_TIMEOUT = timedelta(minutes=3)
# How long a scanned session may take to load its chats before the attempt counts as failed.
SYNC_TIMEOUT = timedelta(minutes=5)
CHECK_WHILE_PAIRING = timedelta(seconds=3)
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
    CONNECTED = "conectado"  # the server reported inChat / isLogged, or WhatsApp itself answered


class Proof(StrEnum):
    """How we last knew that a session is truly up."""

    WEBHOOK = "webhook"  # the server posted inChat or isLogged
    PHONE_NUMBER = "phone_number"  # get-phone-number, which really asks WhatsApp, answered
    ACK = "ack"  # WhatsApp acknowledged a message
    MESSAGE = "message"  # a message came in


# What proved a session, after `por`.
PROOFS: dict[Proof | None, str] = {
    Proof.WEBHOOK: N_("aviso do servidor"),
    Proof.PHONE_NUMBER: N_("consulta ao WhatsApp"),
    Proof.ACK: N_("confirmação de mensagem"),
    Proof.MESSAGE: N_("mensagem recebida"),
    None: N_("nada ainda"),
}

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
        N_("O servidor encerrou esta conexão."),
        N_("Conecte de novo; seu celular continua pareado."),
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
# Endings of an unscanned start: they say nothing of a session that is already up.
PAIRING_ENDINGS = {"autocloseCalled", "qrReadFail", "qrReadError"}
# States in which a start is under way, so that another start-session changes nothing there.
RUNNING = {"INITIALIZING", "QRCODE", "PHONECODE"}
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
    """One user's session as its owner sees it. `status` is ours; `reported_state` is what the server says."""

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


@dataclass(frozen=True)
class _Target:
    """A session on its server, as a call needs it. `attempt` is the start that the call belongs to."""

    id: UUID
    name: str
    server_url: str
    status: Status
    attempt: datetime | None
    scanned: bool
    phone: str | None


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

    Commits the intent and a fresh webhook secret, then calls the server. Raises InvalidPhone, Forbidden,
    SessionBeingCleaned while the data of its last connection are being deleted, NoServerAvailable, or the
    WppError of the call (the row then says `desconectado` with the reason). Where the outcome is unknown the row stays
    `pareando`: the worker finds out.
    """
    owner = _owner(actor, user_id)
    digits = normalise(phone) if phone else None
    secret = secrets.token_urlsafe(24)
    with transaction(actor) as tx:
        server_url, left = _placed(tx, owner)
        target = _begin_pairing(tx, owner, digits, secret, server_url)
        if target is not None:
            _note_for_other(tx, actor, owner, target.id, "session.connect")
    if target is not None:
        if left is not None:
            _leave(left, target.name)
        _start(actor, target, webhook_url(secret, target.name), digits)
    return _require(actor, owner)


def reconnect(actor: Actor, user_id: UUID | None = None) -> Session:
    """Close what runs on the server, without unpairing the phone, and start it again, by phone code where it was.

    Raises as `connect`.
    """
    owner = _owner(actor, user_id)
    target = _target_of(actor, owner)
    if target is not None and target.status is not Status.DISCONNECTED:
        if servers.is_configured(target.server_url):
            client().close_session(target.server_url, target.name)
        with transaction(actor) as tx:
            _end(tx, target.name, "closed")
            _note_for_other(tx, actor, owner, target.id, "session.restart")
    return connect(actor, user_id, target.phone if target else None)


def disconnect(actor: Actor, user_id: UUID | None = None) -> Session:
    """End the session on its server (a connected one is unpaired), check that it ended, and say `desconectado`.

    Doing it twice is the same as once. On a server that is configured no longer nothing can be ended: it is not called,
    and the session is only called ended. Raises NotFound without a session, Forbidden, the WppError of the call, or
    WppOutcomeUnknown where the server still reports the session as up.
    """
    owner = _owner(actor, user_id)
    target = _target_of(actor, owner)
    if target is None:
        raise NotFound(f"no session of {owner}")
    try:
        if servers.is_configured(target.server_url):
            _end_on_server(target)
    except WppError as error:
        # A start that nobody will scan dies by itself; one that is up must not be called ended while it is not.
        if target.status is Status.CONNECTED or not error.safe_to_retry:
            _note_unfinished(actor, target)
            raise
    with transaction(actor) as tx:
        _end(tx, target.name, None)
        _note_for_other(tx, actor, owner, target.id, "session.disconnect")
    return _require(actor, owner)


def close(actor: Actor, user_id: UUID | None = None) -> Session:
    """Stop the session on its server and leave it stopped; the phone stays paired. Raises as `disconnect`."""
    owner = _owner(actor, user_id)
    target = _target_of(actor, owner)
    if target is None:
        raise NotFound(f"no session of {owner}")
    client().close_session(target.server_url, target.name)
    _refuse_if_up(target)
    with transaction(actor) as tx:
        _end(tx, target.name, None)
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
            _end_on_server(target)
    except WppError as error:
        if not error.safe_to_retry:
            raise
        log.warning("moved_without_ending", session=target.name, error=type(error).__name__)
    with transaction(actor) as tx:
        _end(tx, target.name, None)
        tx.execute(update(sessions).where(sessions.c.id == target.id).values(server_url=server_url))
        _note_for_other(tx, actor, owner, target.id, "session.move")
    return connect(actor, owner)


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
    if value == "qrReadSuccess":
        _scanned(tx, name, received_at)
    elif value in UP and current:
        _up(tx, name, received_at)
    elif value in ENDINGS and current:
        ended = _end(tx, name, ENDINGS[value], received_at, only=_ends(value))
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

    Only sessions that pair, have just come up, or gave contradictory signs are due: nothing else is ever polled.
    """
    with transaction(SYSTEM) as tx:
        due = (
            select(sessions.c.id)
            .where(sessions.c.check_at <= func.now())
            .order_by(sessions.c.check_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        rows = tx.execute(
            update(sessions)
            .where(sessions.c.id.in_(due))
            .values(check_at=func.now() + CHECK_LEASE)
            .returning(*_TARGET_COLUMNS)
        ).all()
    if rows:
        with ThreadPoolExecutor(min(len(rows), CHECKS_AT_ONCE), thread_name_prefix="check") as pool:
            list(pool.map(_check, [_target(row) for row in rows]))
    return len(rows)


def ask_everybody() -> int:
    """Have the servers asked about every session that is not down, as after a restore; returns how many there are."""
    with transaction(SYSTEM) as tx:
        done = tx.execute(update(sessions).where(sessions.c.status != Status.DISCONNECTED).values(check_at=func.now()))
    return int(done.rowcount)


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
        state = client().status_session(target.server_url, target.name)
        if state.status == "CONNECTED":
            _prove_by_asking(target)
            return
        with transaction(SYSTEM) as tx:
            given_up = _take_state(tx, target, state)
        if given_up:
            # Or it goes on making codes that nobody is shown.
            client().close_session(target.server_url, target.name)
    except WppDisconnected:
        with transaction(SYSTEM) as tx:
            _end(tx, target.name, "lost", only=_as_read(target))
    except (WppError, ConfigurationError) as error:
        log.info("check_failed", session=target.name, error=type(error).__name__)
        with transaction(SYSTEM) as tx:
            _give_up_or_wait(tx, target, "server_unreachable", CHECK_AFTER_ERROR)


def _prove_by_asking(target: _Target) -> None:
    number = client().phone_number(target.server_url, target.name)
    device = client().host_device(target.server_url, target.name)
    with transaction(SYSTEM) as tx:
        tx.execute(
            update(sessions)
            .where(_as_read(target))
            .values(
                phone_number=number,
                device_name=device.pushname or device.platform,
                last_proof_at=func.now(),
                last_proof_kind=Proof.PHONE_NUMBER,
                last_activity=func.now(),
                check_at=None,
                **_connected(func.now()),
            )
        )


def _take_state(tx: Connection, target: _Target, state: SessionState) -> bool:
    """What `status-session` said of a session that is not CONNECTED; True where its pairing was given up."""
    now = func.clock_timestamp()
    if target.status is Status.CONNECTED:
        _end(tx, target.name, "lost", only=_as_read(target))
        return False
    if target.status is Status.DISCONNECTED:
        _report(tx, target, state.status, now)
        tx.execute(update(sessions).where(_as_read(target)).values(check_at=None))
        return False
    _show_codes(tx, target, state)
    return _give_up_or_wait(tx, target, "no_answer", CHECK_WHILE_PAIRING)


def _give_up_or_wait(tx: Connection, target: _Target, failure: str, wait: timedelta) -> bool:
    timeout = SYNC_TIMEOUT if target.scanned else PAIRING_TIMEOUT
    expired = target.attempt is not None and datetime.now(UTC) > target.attempt + timeout
    if target.status is Status.PAIRING and expired:
        reason = case((sessions.c.qr_count > 0, "qr_not_scanned"), else_=failure)
        return _end(tx, target.name, reason, only=_as_read(target))
    tx.execute(update(sessions).where(_as_read(target)).values(check_at=func.now() + wait))
    return False


# --- one start on the server ------------------------------------------------------------------------------------------


def _placed(tx: Connection, owner: UUID) -> tuple[str, str | None]:
    """The server for this start, by the rule in `servers`, and the one that still holds something of the session and
    is left for it."""
    row = tx.execute(select(*_PLACE_COLUMNS).where(sessions.c.user_id == owner)).one_or_none()
    if row is not None and row.status == Status.CONNECTED:
        return row.server_url, None  # it is up, so nothing is started
    holds = row is not None and (row.phone_number is not None or row.status == Status.PAIRING)
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


def _begin_pairing(tx: Connection, owner: UUID, phone: str | None, secret: str, server_url: str) -> _Target | None:
    """Write the intent down; None where the session is up already."""
    name = f"user_{owner}"
    tx.execute(
        insert(sessions)
        .values(user_id=owner, session_id=name, status=Status.DISCONNECTED, server_url=server_url)
        .on_conflict_do_nothing()
    )
    row = tx.execute(
        update(sessions)
        .where(sessions.c.user_id == owner, sessions.c.status != Status.CONNECTED, ~_being_cleaned())
        .values(
            status=Status.PAIRING,
            server_url=server_url,
            pairing_started_at=func.clock_timestamp(),
            pairing_phone=phone,
            scanned_at=None,
            failure=None,
            connected_at=None,
            reported_state=None,
            webhook_secret_hash=secret_hash(secret),
            check_at=func.now() + CHECK_WHILE_PAIRING,
            updated_at=func.now(),
            **_NO_CODES,
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


def _start(actor: Actor, target: _Target, webhook: str, phone: str | None) -> None:
    try:
        if client().status_session(target.server_url, target.name).status in RUNNING:
            # The server takes a new webhook (and a phone) only when it really starts something.
            client().close_session(target.server_url, target.name)
        # A code is worth waiting for: unlike a QR it cannot be asked for again where its webhook is lost.
        state = client().start_session(target.server_url, target.name, webhook, phone=phone, wait_qr=phone is not None)
    except WppOutcomeUnknown:
        return
    except WppError as error:
        failure = "server_unreachable" if error.safe_to_retry else "server_refused"
        with transaction(actor) as tx:
            _end(tx, target.name, failure, only=_as_read(target))
        raise
    with transaction(actor) as tx:
        now = func.clock_timestamp()
        _report(tx, target, state.status, now)
        if state.status == "CONNECTED":
            tx.execute(update(sessions).where(_as_read(target)).values(check_at=func.now()))
        _show_codes(tx, target, state)


def _show_codes(tx: Connection, target: _Target, state: SessionState) -> None:
    now = func.clock_timestamp()
    if state.status == "QRCODE" and state.urlcode:
        show_qr(tx, target.name, state.urlcode, state.qrcode, now)
    elif state.phone_code:
        show_phone_code(tx, target.name, state.phone_code, now)


def _report(tx: Connection, target: _Target, state: str, at: Moment) -> None:
    tx.execute(update(sessions).where(_as_read(target)).values(**_reported(state, at)))


def _end_on_server(target: _Target) -> None:
    unpaired = client().logout_session(target.server_url, target.name)
    if not unpaired:
        client().close_session(target.server_url, target.name)
    _refuse_if_up(target)


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
)
_OWN_COLUMNS = (
    *_TARGET_COLUMNS,
    sessions.c.user_id,
    sessions.c.qr_urlcode,
    sessions.c.qr_code,
    sessions.c.qr_received_at,
    sessions.c.qr_expires_at,
    sessions.c.qr_count,
    sessions.c.phone_code,
    sessions.c.phone_code_at,
    sessions.c.reported_state,
    sessions.c.reported_at,
    sessions.c.last_proof_at,
    sessions.c.last_proof_kind,
    sessions.c.connected_at,
    sessions.c.phone_number,
    sessions.c.device_name,
    sessions.c.failure,
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
        **_NO_CODES,
    }


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


def _ends(value: str) -> Any:
    """Which statuses an ending may end: an unscanned start's ending says nothing of a session that is up."""
    if value in PAIRING_ENDINGS:
        return sessions.c.status == Status.PAIRING
    return sessions.c.status.in_((Status.PAIRING, Status.CONNECTED))


def _being_cleaned() -> ColumnElement[bool]:
    """A clean-up holds the session; the lease ends by itself where the cleaner died."""
    return func.coalesce(sessions.c.cleaning_until > func.clock_timestamp(), False)


def _scanned(tx: Connection, name: str, at: datetime) -> None:
    tx.execute(
        _in_status(name, Status.PAIRING)
        .where(at >= sessions.c.pairing_started_at)
        .values(scanned_at=at, **_NO_CODES, **_reported("qrReadSuccess", at))
    )


def _up(tx: Connection, name: str, at: datetime) -> None:
    """Pairing or up becomes up; one that ended is asked first, because news of its life may simply be late."""
    tx.execute(
        _in_status(name, Status.PAIRING).values(
            last_proof_at=at,
            last_proof_kind=Proof.WEBHOOK,
            last_activity=at,
            check_at=func.now(),
            **_connected(at),
        )
    )
    tx.execute(_in_status(name, Status.DISCONNECTED).values(check_at=func.now(), **_reported("CONNECTED", at)))
    prove(tx, name, Proof.WEBHOOK, at)


def _end(
    tx: Connection, name: str, failure: str | ColumnElement[str] | None, at: datetime | None = None, *, only: Any = True
) -> bool:
    """Say `desconectado` with the reason; False where `only` admitted nothing."""
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
            updated_at=func.now(),
            **_given_up(failure),
            **_NO_CODES,
            **_reported("CLOSED", at or func.now()),
        )
    )
    return bool(done.rowcount)


def _given_up(failure: str | ColumnElement[str] | None) -> dict[str, Any]:
    final = failure is None or (isinstance(failure, str) and failure in FINAL)
    return {"wants_up": False} if final else {}


def _explain(tx: Connection, name: str, value: str) -> None:
    """A loss that the worker found by asking, before the server's own word came: that word says why."""
    if value not in PAIRING_ENDINGS:
        tx.execute(
            _in_status(name, Status.DISCONNECTED)
            .where(sessions.c.failure == "lost")
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
        row.id,
        row.session_id,
        row.server_url,
        Status(row.status),
        row.pairing_started_at,
        row.scanned_at is not None,
        row.pairing_phone,
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
    )
