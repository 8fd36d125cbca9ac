"""The request for a start, in the session's row: which server it goes to, and what is left on the earlier server.

The row is written and committed before the server is called.
"""

from uuid import UUID

import structlog
from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    case,
    func,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from services.db.rows import read_row
from services.db.tables.fleet import sessions
from services.db.tables.messaging import lanes
from services.errors import N_, ConfigurationError, Conflict
from services.fleet import servers
from services.fleet.session import TARGET_COLUMNS, Status, Target
from services.fleet.timing import CHECK_LEASE
from services.fleet.transitions import NO_CODES
from services.wppconnect.errors import WppError
from services.wppconnect.shared import get_client

log = structlog.get_logger(__name__)


class SessionBeingCleaned(Conflict):
    code = "sessao_em_limpeza"
    permanent = False
    message = N_("Os dados antigos desta conexão estão sendo apagados agora.")
    hint = N_("Espere um minuto e conecte de novo.")


def choose_place(tx: Connection, owner: UUID, *, also_up: bool) -> tuple[str, str | None]:
    """The server for this start, by the rule in `servers`, and the one that still holds something of the session and
    is left for it."""
    row = tx.execute(select(*_PLACE_COLUMNS).where(sessions.c.user_id == owner)).one_or_none()
    if row is not None and row.status == Status.CONNECTED and not also_up:
        return row.server_url, None  # it is up, so nothing is started
    holds = row is not None and (row.phone_number is not None or row.status != Status.DISCONNECTED)
    home = row.server_url if row is not None and holds else None
    server_url = servers.choose_server(tx, home)
    return server_url, home if home != server_url else None


def leave_server(server_url: str, name: str) -> None:
    """Unpair and delete what a session left on its earlier server, or a restart there would bring a second one up.

    A server that is away keeps it; one that is not configured is not asked.
    """
    try:
        if not get_client().logout_session(server_url, name):
            get_client().close_session(server_url, name)
            get_client().clear_session_data(server_url, name)
    except (WppError, ConfigurationError) as error:
        log.warning("session_left_behind", session=name, error=type(error).__name__)


def request_start(tx: Connection, owner: UUID, phone: str | None, server_url: str, *, also_up: bool) -> Target | None:
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
            ~_is_being_cleaned(),
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
            profile_available_at=case((stays, sessions.c.profile_available_at), else_=None),
            settling_since=None,
            ended_on_purpose_at=None,
            check_at=func.now() + CHECK_LEASE,
            updated_at=func.now(),
            **NO_CODES
            | {
                "phone_code": case((same_code, sessions.c.phone_code), else_=None),
                "phone_code_at": case((same_code, sessions.c.phone_code_at), else_=None),
            },
        )
        .returning(*TARGET_COLUMNS)
    ).one_or_none()
    if row is None:
        _refuse_while_cleaned(tx, owner)
        return None
    tx.execute(insert(lanes).values(session_id=row.id).on_conflict_do_nothing())
    return read_row(Target, row)


def _refuse_while_cleaned(tx: Connection, owner: UUID) -> None:
    """What is being deleted on the server may not begin again there until it is gone."""
    leased = select(sessions.c.id).where(sessions.c.user_id == owner, sessions.c.status != Status.CONNECTED)
    if tx.execute(leased.where(_is_being_cleaned())).first():
        raise SessionBeingCleaned(f"session of {owner}")


_PLACE_COLUMNS = (sessions.c.server_url, sessions.c.status, sessions.c.phone_number)


def _is_being_cleaned() -> ColumnElement[bool]:
    """A clean-up holds the session; the lease ends by itself where the cleaner died."""
    return func.coalesce(sessions.c.retention_lease_until > func.clock_timestamp(), False)
