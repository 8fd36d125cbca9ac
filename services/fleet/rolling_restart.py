"""Rolling restart: restarts many sessions, a few of each server at a time.

    start ─▶ waiting ──worker claims──▶ under_way ──connected again──▶ done
                │                          └──not in time, refused──▶ failed
                └──the session ended meanwhile──▶ left_out

Sessions that all come back at once would bring their server down again. Only one rolling restart runs at a time. After
a pause, restarts that are under way end and no new ones begin. If a worker dies, the next one continues and sees from
the evidence what became of the sessions.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Connection, Select, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from services import settings
from services.db import queries
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.db.rows import read_row
from services.db.tables.accounts import directory
from services.db.tables.base import Record
from services.db.tables.fleet import rolling_restart_items
from services.db.tables.fleet import rolling_restarts as rolling_restart_rows
from services.errors import N_, Conflict, NotFound, ServiceError
from services.fleet import commands, timeline
from services.security import audit_log

_QUERIES = queries.load(__file__)

log = structlog.get_logger(__name__)

# A restart's calls may take 45 s at worst (see client.Timeouts), coming up some seconds more.
RESTART_TIMEOUT_SECONDS = 60


class RollingRestartUnderWay(Conflict):
    """Sessions are being restarted already."""

    code = "reinicio_em_andamento"
    message = N_("Um reinício em ondas já está em andamento.")
    hint = N_("Espere o fim dele ou cancele-o.")


class NothingToRestart(Conflict):
    """No session of the chosen server is connected."""

    code = "nada_a_reiniciar"
    message = N_("Nenhuma sessão conectada para reiniciar.")
    hint = N_("Escolha outro servidor ou conecte as sessões antes.")


@dataclass(frozen=True)
class RollingRestart:
    """One restart of many. `server_url` None: of all servers. `by` is the e-mail of whoever asked for it."""

    id: int
    by: str | None
    server_url: str | None
    paused: bool
    cancelled: bool
    created_at: datetime
    ended_at: datetime | None
    total: int
    done: int
    failed: int
    under_way: int

    @property
    def fraction(self) -> float:
        """How far it is, from 0 to 1."""
        return (self.done + self.failed) / max(self.total, 1)


def start(actor: Actor, server_url: str | None = None) -> RollingRestart:
    """Restart every connected session, of one server or of all.

    Raises: Forbidden, RollingRestartUnderWay, NothingToRestart.
    """
    actor.require_staff("rolling restarts")
    try:
        with transaction(actor) as tx:
            new = (
                insert(rolling_restart_rows)
                .values(actor_id=actor.user_id, server_url=server_url)
                .returning(rolling_restart_rows.c.id)
            )
            restart_id = tx.execute(new).scalar_one()
            count = tx.execute(_ADD_SESSIONS, {"rolling_restart": restart_id, "server": server_url}).rowcount
            if not count:
                raise NothingToRestart(f"rolling restart of {actor.user_id}")
            audit_log.record(tx, actor, "fleet.restart", str(restart_id), sessions=count)
    except IntegrityError as error:
        raise RollingRestartUnderWay("a rolling restart is under way") from error
    return _get(actor, restart_id)


def get_newest(actor: Actor) -> RollingRestart | None:
    """The restart under way, or else the last one; None where there never was one, or for nobody of the staff."""
    with transaction(actor) as tx:
        row = tx.execute(_select_restarts().order_by(rolling_restart_rows.c.id.desc()).limit(1)).one_or_none()
    return read_row(RollingRestart, row) if row else None


def pause(actor: Actor, restart_id: int, *, on: bool) -> RollingRestart:
    """Hold a rolling restart, or let it go on.

    Raises: NotFound for one that is over.
    """
    with transaction(actor) as tx:
        _change(tx, restart_id, paused=on)
        audit_log.record(tx, actor, "fleet.restart_paused" if on else "fleet.restart_resumed", str(restart_id))
    return _get(actor, restart_id)


def cancel(actor: Actor, restart_id: int) -> RollingRestart:
    """End a rolling restart: what is under way ends by itself, nothing more begins.

    Raises: NotFound for one that is over.
    """
    with transaction(actor) as tx:
        _change(tx, restart_id, cancelled=True, ended_at=func.now())
        audit_log.record(tx, actor, "fleet.restart_cancelled", str(restart_id))
    return _get(actor, restart_id)


def restart_next() -> int:
    """What the worker does: look what came up, restart the next; returns how many were restarted."""
    with transaction(SYSTEM) as tx:
        tx.execute(_UPDATE_SESSIONS, {"seconds": RESTART_TIMEOUT_SECONDS})
        tx.execute(_MARK_ENDED)
        claimed = tx.execute(_CLAIM_NEXT, {"cap": settings.get().health.heals_per_server}).all()
    rows = [row for row in claimed if row.state == "under_way"]
    if rows:
        with ThreadPoolExecutor(len(rows), thread_name_prefix="rolling_restart") as pool:
            list(pool.map(_restart_session, rows))
    return len(claimed)


def _restart_session(row: Record) -> None:
    worked = True
    try:
        commands.reconnect(SYSTEM, row.user_id)
    except ServiceError as error:
        worked = False
        log.warning("rolling_restart_failed", session=f"user_{row.user_id}", error=type(error).__name__)
    with transaction(SYSTEM) as tx:
        if not worked:
            item = (
                rolling_restart_items.c.rolling_restart_id == row.rolling_restart_id,
                rolling_restart_items.c.session_id == row.session_id,
            )
            tx.execute(update(rolling_restart_items).where(*item).values(state="failed"))
        outcome: timeline.Outcome = "ok" if worked else "failed"
        timeline.add_entry(
            tx, row.session_id, row.user_id, timeline.Kind.HEALTH, "step.wave", outcome, restart=row.rolling_restart_id
        )


def _change(tx: Connection, restart_id: int, **values: object) -> None:
    changed = tx.execute(
        update(rolling_restart_rows)
        .where(rolling_restart_rows.c.id == restart_id, rolling_restart_rows.c.ended_at.is_(None))
        .values(**values)
    )
    if not changed.rowcount:
        raise NotFound(f"rolling restart {restart_id}")


def _get(actor: Actor, restart_id: int) -> RollingRestart:
    with transaction(actor) as tx:
        row = tx.execute(_select_restarts().where(rolling_restart_rows.c.id == restart_id)).one_or_none()
    if row is None:
        raise NotFound(f"rolling restart {restart_id}")
    return read_row(RollingRestart, row)


def _select_restarts() -> Select[Any]:
    counted = (
        select(
            func.count().label("total"),
            func.count().filter(rolling_restart_items.c.state.in_(("done", "left_out"))).label("done"),
            func.count().filter(rolling_restart_items.c.state == "failed").label("failed"),
            func.count().filter(rolling_restart_items.c.state == "under_way").label("under_way"),
        )
        .where(rolling_restart_items.c.rolling_restart_id == rolling_restart_rows.c.id)
        .lateral("counted")
    )
    return select(rolling_restart_rows, directory.c.email.label("by"), counted).outerjoin(
        directory, directory.c.user_id == rolling_restart_rows.c.actor_id
    )


_ADD_SESSIONS = _QUERIES["add_sessions"]
_UPDATE_SESSIONS = _QUERIES["update_sessions"]
_MARK_ENDED = _QUERIES["mark_ended"]
_CLAIM_NEXT = _QUERIES["claim_next"]
