"""The WPPConnect servers as staff see them, and the choice of a server for a session.

A row whose address is configured no longer is shown as such, gets no new session and is never called: the client
refuses every address that is not configured, also one that somebody wrote into a session's row.

Where a start goes:
- A session that was paired has its data on its server, so it stays there, also when the server is full or does not
  answer at the moment. It is placed anew when its server is drained or configured no longer.
- A session that was never paired is placed anew at each start.
- The server with the most room gets it: capacity minus the sessions there that are not `desconectado`. Servers whose
  newest look failed come last but are not left out: the look may be older than the recovery, and the error of the call
  says more than that there is no room.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, null, select, text

from services import settings
from services.db.actor import Actor
from services.db.engine import transaction
from services.db.rows import read_row
from services.db.tables.fleet import server_checks, wpp_servers
from services.db.tables.fleet import sessions as session_rows
from services.errors import N_, InvalidInput, ServiceError
from services.fleet.contract_checks import ContractCheck, build_check
from services.fleet.server_health import ServerWarning
from services.fleet.server_registry import change_server, get_number, register_servers
from services.security import audit_log
from services.wppconnect import check as contract_check

MAX_CAPACITY = 100_000


class NoServerAvailable(ServiceError):
    code = "sem_servidor"
    http_status = 503
    permanent = False
    safe_to_retry = True
    message = N_("Nenhum servidor do WhatsApp tem lugar para mais uma conexão agora.")
    hint = N_("Nada foi iniciado. Fale com a equipe: é preciso abrir espaço em “Servidores”.")


@dataclass(frozen=True)
class Server:
    """One server as staff see it.

    `position` counts from 1 in `WPP_SERVER_URL`; None: configured no longer. `healthy` None: never looked at;
    `state_since`: since when it is so. `latency_ms`: of the newest look, None where it failed. `started_at` and
    `version` are None where the server does not tell. `error`: the code of the newest failure, kept after the recovery.
    """

    url: str
    number: int
    position: int | None
    capacity: int
    drained_at: datetime | None
    healthy: bool | None
    state_since: datetime | None
    checked_at: datetime | None
    latency_ms: int | None
    version: str | None
    started_at: datetime | None
    error: str | None
    error_detail: str | None
    error_at: datetime | None
    scanned_at: datetime | None
    warnings: tuple[ServerWarning, ...]
    connected: int
    pairing: int
    disconnected: int
    checks: tuple[
        ContractCheck, ...
    ] = ()  # newest first: at most one that is not finished, and the newest of each version

    @property
    def running_check(self) -> ContractCheck | None:
        """The check that is not finished."""
        return next((check for check in self.checks if check.finished_at is None), None)

    @property
    def failed_check(self) -> ContractCheck | None:
        """The newest finished check, where it could not look at the server."""
        newest = next((check for check in self.checks if check.finished_at is not None), None)
        return newest if newest is not None and newest.error is not None else None

    @property
    def last_check(self) -> ContractCheck | None:
        """The newest result for the version that runs there; for any where that is not known or has none."""
        finished = [check for check in self.checks if check.finished_at is not None and check.error is None]
        same = [check for check in finished if check.version == self.version and self.version is not None]
        return next(iter(same or finished), None)

    @property
    def changed_from(self) -> str | None:
        """The version that was checked last, where another runs now that was never checked."""
        checked = self.last_check.version if self.last_check is not None else None
        return checked if self.version is not None and checked != self.version else None

    @property
    def configured(self) -> bool:
        return self.position is not None

    @property
    def only_here(self) -> bool:
        """Its address is this machine's own, which nobody outside reaches."""
        return contract_check.is_on_this_machine(self.url)

    @property
    def load(self) -> int:
        """Sessions that take a place."""
        return self.connected + self.pairing


def list_servers(actor: Actor) -> list[Server]:
    """Every server that is or was configured, in the order of the configuration, for staff.

    Raises: Forbidden.
    """
    actor.require_staff_or_system("servers")
    urls = list(settings.get().wppconnect.servers())
    with transaction(actor) as tx:
        register_servers(tx, urls)
        rows = tx.execute(_select_servers(urls)).all()
        checks = tx.execute(select(server_checks).order_by(server_checks.c.id.desc())).all()
    return [
        read_row(Server, row, checks=[build_check(check) for check in checks if check.url == row.url]) for row in rows
    ]


def drain(actor: Actor, url: str, on: bool) -> None:
    """Send no new session to a server, or send it some again; those that are up there stay. For admins, on the record.

    Raises: Forbidden, and NotFound for a server that is not configured.
    """
    with transaction(actor) as tx:
        since = func.coalesce(wpp_servers.c.drained_at, func.now())
        change_server(tx, actor, url, drained_at=since if on else null())
        audit_log.record(tx, actor, "server.drain" if on else "server.undrain", get_number(tx, url))


def set_capacity(actor: Actor, url: str, n: int) -> None:
    """How many sessions a server takes at most; more that are there already stay. For admins, on the record.

    Raises: Forbidden, InvalidInput, and NotFound for a server that is not configured.
    """
    if not 0 <= n <= MAX_CAPACITY:
        raise InvalidInput(f"capacity {n}")
    with transaction(actor) as tx:
        change_server(tx, actor, url, capacity=n)
        audit_log.record(tx, actor, "server.capacity", get_number(tx, url), capacity=n)


def choose_server(tx: Connection, home: str | None = None) -> str:
    """The server for a session's start, by the rule above; `home` is where its data are.

    The place is taken when the caller's transaction has written the session and committed: until then others wait.

    Raises: NoServerAvailable.
    """
    chosen = tx.execute(_CHOOSE, {"urls": list(settings.get().wppconnect.servers()), "home": home}).scalar_one()
    if chosen is None:
        raise NoServerAvailable("no server has room")
    return str(chosen)


_CHOOSE = text("select app.choose_server(:urls, :home)")


def _select_servers(urls: list[str]) -> Any:
    counted = (
        select(
            session_rows.c.server_url,
            *(
                func.count().filter(session_rows.c.status == status).label(name)
                for status, name in (
                    ("conectado", "connected"),
                    ("pareando", "pairing"),
                    ("desconectado", "disconnected"),
                )
            ),
        )
        .group_by(session_rows.c.server_url)
        .subquery()
    )
    position = func.array_position(urls, wpp_servers.c.url).label("position")
    states = (counted.c.connected, counted.c.pairing, counted.c.disconnected)
    return (
        select(wpp_servers, position, *(func.coalesce(state, 0).label(state.name) for state in states))
        .select_from(wpp_servers.outerjoin(counted, counted.c.server_url == wpp_servers.c.url))
        .order_by(position.nulls_last(), wpp_servers.c.number)
    )
