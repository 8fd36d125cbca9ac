"""Incidents: what is wrong with which session or server.

    detected ─▶ open ──step──step──▶ healed              evidence came: a proof, a delivery, a code
                  │    ├────────────▶ needs_phone        only the owner's phone can help
                  │    └────────────▶ needs_person       healing has no step left
                  └─────────────────▶ over               no longer wanted, or another incident replaced it

Incidents are detected from evidence in the tables and end when evidence says so. There is one statement for each kind,
however many sessions there are. `healing` acts on incidents, `alerts` tells people.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import Connection, func, select

from services import settings
from services.db import queries
from services.db.actor import Actor
from services.db.engine import transaction
from services.db.rows import read_rows
from services.db.tables.accounts import directory
from services.db.tables.fleet import incidents as incident_rows
from services.db.tables.fleet import sessions
from services.errors import N_
from services.fleet import timeline

_QUERIES = queries.load(__file__)

PAGE_SIZE = 50


class Kind(StrEnum):
    """What is wrong, most urgent first."""

    SERVER_DOWN = "server_down"  # a WPPConnect server does not answer
    ZOMBIE = "zombie"  # the server says CONNECTED, WhatsApp does not answer
    DROPPED = "dropped"  # it was up and ended by itself
    SILENT = "silent"  # up, but nothing has come in at an hour at which it usually does
    UNACKED = "unacked"  # the server took messages that WhatsApp never acknowledged
    RESTRICTED = "restricted"  # WhatsApp refuses messages to people who never wrote, and takes the others
    STUCK = "stuck"  # a start that shows no code
    LOGGED_OUT = "logged_out"  # the phone ended it
    NOT_SCANNED = "not_scanned"  # nobody read the code in time
    SAME_NUMBER = "same_number"  # another session is the same number; only staff learn it


class State(StrEnum):
    """How far it is."""

    OPEN = "open"  # the worker is on it
    NEEDS_PHONE = "needs_phone"  # only the owner's phone can help
    NEEDS_PERSON = "needs_person"  # the worker has tried what it can
    HEALED = "healed"
    OVER = "over"  # it no longer matters


# kind → what it is, and what to do, for the staff.
DESCRIPTIONS: dict[Kind, tuple[str, str]] = {
    Kind.SERVER_DOWN: (
        N_("Servidor do WhatsApp fora do ar"),
        N_("Verifique a máquina do servidor; as sessões voltam em ondas quando ele voltar."),
    ),
    Kind.ZOMBIE: (
        N_("Sessão morta: o servidor diz conectada, o WhatsApp não responde"),
        N_("A reinicialização automática está em andamento; se ela não bastar, reinicie ou mova a sessão."),
    ),
    Kind.DROPPED: (
        N_("Sessão caiu sozinha"),
        N_("A religação automática está em andamento; se ela não bastar, a pessoa precisa conectar de novo."),
    ),
    Kind.SILENT: (
        N_("Sessão calada num horário em que costuma receber"),
        N_("Peça para alguém mandar uma mensagem a este número; se nada chegar, reinicie a sessão."),
    ),
    Kind.UNACKED: (
        N_("Mensagens aceitas sem confirmação do WhatsApp"),
        N_("Abra o diagnóstico da sessão e confira se o celular está online."),
    ),
    Kind.RESTRICTED: (
        N_("O WhatsApp recusa conversas novas desta conta"),
        N_(
            "As campanhas pararam de escrever a desconhecidos e testam sozinhas, com uma mensagem de cada vez. "
            "Peça que a pessoa não insista: cada tentativa alonga a restrição."
        ),
    ),
    Kind.STUCK: (
        N_("Conexão presa sem mostrar código"),
        N_("A reinicialização automática está em andamento; se repetir, confira o servidor."),
    ),
    Kind.LOGGED_OUT: (
        N_("Aparelho desconectado pelo celular"),
        N_("A pessoa precisa conectar de novo e ler o código com o celular."),
    ),
    Kind.NOT_SCANNED: (
        N_("Código não lido a tempo"),
        N_("A pessoa precisa conectar de novo com o celular na mão."),
    ),
    Kind.SAME_NUMBER: (
        N_("Mesmo número em duas sessões"),
        N_("Combine com as pessoas qual sessão fica: limites e ritmo do número são somados até uma desconectar."),
    ),
}


@dataclass(frozen=True)
class Incident:
    """One thing that is or was wrong. `email` is its session's owner, None for a server's; `steps` counts the tries to
    heal it.
    """

    id: int
    kind: Kind
    state: State
    user_id: UUID | None
    email: str | None
    server_url: str | None
    detected_at: datetime
    steps: int
    ended_at: datetime | None


@dataclass(frozen=True)
class IncidentsPage:
    """One page; `total` counts every row that the filter admits."""

    incidents: list[Incident]
    total: int


def list_incidents(actor: Actor, *, user_id: UUID | None = None, ended: bool = False, page: int = 1) -> IncidentsPage:
    """One page (50) of what is wrong, newest first, as far as the actor may see it; with `ended` also what was."""
    # Looked up for each: joined, the view of everybody would be read whole.
    email = select(directory.c.email).where(directory.c.user_id == incident_rows.c.user_id).scalar_subquery()
    incidents = select(incident_rows, email.label("email"), func.count().over().label("total"))
    if not ended:
        incidents = incidents.where(incident_rows.c.ended_at.is_(None))
    if user_id is not None:
        incidents = incidents.where(
            incident_rows.c.session_id == select(sessions.c.id).where(sessions.c.user_id == user_id).scalar_subquery()
        )
    incidents = incidents.order_by(incident_rows.c.id.desc()).limit(PAGE_SIZE).offset((page - 1) * PAGE_SIZE)
    with transaction(actor) as tx:
        rows = tx.execute(incidents).all()
    return IncidentsPage(read_rows(Incident, rows), rows[0].total if rows else 0)


def open_since(actor: Actor, kind: Kind, session_id: UUID) -> datetime | None:
    """When what is wrong with that session was found, as far as the actor may see it; None where it is not."""
    wanted = select(incident_rows.c.detected_at).where(
        incident_rows.c.session_id == session_id, incident_rows.c.kind == kind, incident_rows.c.ended_at.is_(None)
    )
    with transaction(actor) as tx:
        found: datetime | None = tx.execute(wanted).scalar_one_or_none()
    return found


def detect(tx: Connection) -> int:
    """Write down what is newly wrong, as far as the tables tell; returns how many were found."""
    configured = settings.get().health
    times = {
        "stuck": configured.stuck_seconds,
        "unacked": configured.unacked_seconds,
        "silence": configured.silence_minutes * 60,
    }
    rows = [row for statement in _DETECTIONS for row in tx.execute(statement, times)]
    for row in rows:
        timeline.add_entry(tx, row.session_id, row.user_id, timeline.Kind.HEALTH, f"found.{row.kind}")
    # In no timeline: its owner reads that, and must not learn who else has the number.
    return len(rows) + len(tx.execute(_DETECT_SAME_NUMBER).all())


def open_incidents(tx: Connection, kind: Kind, session_ids: list[UUID]) -> None:
    """Write down what only asking could tell of these sessions."""
    for row in tx.execute(_INSERT_INCIDENTS, {"kind": kind, "ids": session_ids}):
        timeline.add_entry(tx, row.session_id, row.user_id, timeline.Kind.HEALTH, f"found.{kind}")


def update_states(tx: Connection) -> int:
    """End what evidence has ended, and mark what only a phone can help; returns how many moved."""
    rows = tx.execute(_UPDATE_STATES, {"unacked": settings.get().health.unacked_seconds}).all()
    for row in rows:
        if row.session_id is not None and row.state != State.OVER:
            outcome: timeline.Outcome = "ok" if row.state == State.HEALED else "failed"
            timeline.add_entry(
                tx, row.session_id, row.user_id, timeline.Kind.HEALTH, f"{row.state}.{row.kind}", outcome
            )
    return len(rows)


def open_server_down(tx: Connection, server_url: str) -> None:
    """A server does not answer: its sessions are left alone until it does."""
    tx.execute(_INSERT_SERVER_DOWN, {"server": server_url})


def end_server_down(tx: Connection, server_url: str) -> None:
    """It answers again: whatever runs there is asked about at once."""
    tx.execute(_END_SERVER_DOWN, {"server": server_url})
    tx.execute(_CHECK_CONNECTED, {"server": server_url})


_DETECTIONS = tuple(
    _QUERIES[name]
    for name in (
        "detect_dropped",
        "detect_stuck",
        "detect_unacked",
        "detect_restricted",
        "detect_silent",
        "detect_unpaired",
    )
)
_DETECT_SAME_NUMBER = _QUERIES["detect_same_number"]
_INSERT_INCIDENTS = _QUERIES["insert_incidents"]
_INSERT_SERVER_DOWN = _QUERIES["insert_server_down"]
_END_SERVER_DOWN = _QUERIES["end_server_down"]
_CHECK_CONNECTED = _QUERIES["check_connected"]
_UPDATE_STATES = _QUERIES["update_states"]
