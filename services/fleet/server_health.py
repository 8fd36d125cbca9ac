"""The health of the servers: whether each answers, since when it is up, and what a stranger could do there.

A look asks for the state of a session. That proves address and secret at once, and tells the version while a session
runs there; `healthz` tells since when the server is up. A scan asks what no stranger should get an answer to; see
`ServerWarning`.
"""

import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

import structlog
from sqlalchemy import func, select, text

from services import settings
from services.db import queries
from services.db.actor import Actor
from services.db.engine import transaction
from services.db.tables.fleet import wpp_servers
from services.fleet.server_registry import register_servers
from services.wppconnect.errors import WppError, WppUnauthorized
from services.wppconnect.shared import get_client

_QUERIES = queries.load(__file__)

log = structlog.get_logger(__name__)

# The secret with which wppconnect-server runs when nobody has set one (its own configuration file).
FACTORY_SECRET = "THISISMYSECURETOKEN"
# Under the version against which this console's knowledge of the server was measured, it knows nothing of its faults.
MEASURED_VERSION = (2, 10, 4)
# Asked about where no session of ours runs: the server has never heard of it and keeps nothing of the question.
UNKNOWN_SESSION = "plushify-look"
SCAN_INTERVAL = timedelta(hours=1)
PARALLEL_LOOKS = 8


class ServerWarning(StrEnum):
    """What a scan found that should not be."""

    FACTORY_SECRET = "factory_secret"  # whoever reads the server's documentation can use every session
    UNHEALTHY = "unhealthy"  # GET /unhealthy gets through and ends the server, whoever asks
    OPEN_SOCKET = "open_socket"  # socket.io tells everybody the QR codes and messages of all sessions
    OLD_VERSION = "old_version"  # older than MEASURED_VERSION
    # clear-session-data and start-all act with a wrong secret, though they answer 400. Known of every version up to
    # MEASURED_VERSION from its source and its recordings; from outside the answer looks like a refusal.
    WRONG_SECRET = "wrong_secret"


@dataclass(frozen=True)
class _Look:
    """What one look found."""

    well: bool
    latency_ms: int | None = None
    version: str | None = None
    uptime: float | None = None
    code: str | None = None
    detail: str | None = None

    @property
    def answers(self) -> bool:
        """Also where it refused us: then it may be that the secret is another one than we believe."""
        return self.well or self.code == WppUnauthorized.code


def update_health(actor: Actor, *, scan: bool = False) -> None:
    """Look at all configured servers at once and write down how they are, for staff and the worker.

    Those that were not scanned within the last hour, or all with `scan`, are scanned too. No answer of a server makes
    this fail: it is what is written down.

    Raises: Forbidden.
    """
    actor.require_staff_or_system("servers")
    urls = list(settings.get().wppconnect.servers())
    with transaction(actor) as tx:
        register_servers(tx, urls)
        running = {row.url: row.session_id for row in tx.execute(_RUNNING_SESSIONS, {"urls": urls})}
        due = wpp_servers.c.scanned_at.is_(None) | (wpp_servers.c.scanned_at < func.now() - SCAN_INTERVAL)
        unscanned = set(tx.execute(select(wpp_servers.c.url).where(due)).scalars())
    with ThreadPoolExecutor(min(len(urls), PARALLEL_LOOKS), thread_name_prefix="look") as pool:
        list(
            pool.map(
                lambda url: _update_server(actor, url, running.get(url, UNKNOWN_SESSION), scan or url in unscanned),
                urls,
            )
        )


def _update_server(actor: Actor, url: str, session: str, scan: bool) -> None:
    seen = _look_at_server(url, session)
    found = _scan(url, seen.version) if seen.answers and scan else None
    with transaction(actor) as tx:
        tx.execute(
            _RECORD_LOOK,
            {
                "url": url,
                "well": seen.well,
                "latency": seen.latency_ms,
                "version": seen.version,
                "uptime": seen.uptime,
                "code": seen.code,
                "detail": seen.detail,
            },
        )
        if found is not None:
            tx.execute(_RECORD_SCAN, {"url": url, "found": [str(one) for one in found]})


def _look_at_server(url: str, session: str) -> _Look:
    started = time.perf_counter()
    try:
        state = get_client().status_session(url, session)
    except WppError as error:
        return _Look(well=False, code=error.code, detail=error.detail)
    latency = round((time.perf_counter() - started) * 1000)
    try:
        uptime = get_client().uptime(url)
    except WppError:
        uptime = None  # a proxy may keep that path to itself
    return _Look(well=True, latency_ms=latency, version=state.version, uptime=uptime)


def _scan(url: str, version: str | None) -> list[ServerWarning] | None:
    """What should not be; None where it could not be found out."""
    found = []
    try:
        if get_client().accepts_secret(url, UNKNOWN_SESSION, FACTORY_SECRET):
            found.append(ServerWarning.FACTORY_SECRET)
    except WppError as error:
        log.warning("scan_unanswered", error=type(error).__name__)
        return None
    if _gets_answer(get_client().lets_unhealthy_through, url):
        found.append(ServerWarning.UNHEALTHY)
    if _gets_answer(get_client().socket_is_open, url):
        found.append(ServerWarning.OPEN_SOCKET)
    if version is not None and _is_old(version):
        found.append(ServerWarning.OLD_VERSION)
    if version is not None and _is_measured(version) and _gets_answer(get_client().lets_clear_through, url):
        found.append(ServerWarning.WRONG_SECRET)
    return found


def _gets_answer(ask: Callable[[str], bool], url: str) -> bool:
    """The server answered a moment ago: where nobody answers now, something in front of it keeps the path shut."""
    try:
        return ask(url)
    except WppError:
        return False


def _is_old(version: str) -> bool:
    numbers = _version_numbers(version)
    return numbers is not None and numbers < MEASURED_VERSION


def _is_measured(version: str) -> bool:
    numbers = _version_numbers(version)
    return numbers is not None and numbers <= MEASURED_VERSION


def _version_numbers(version: str) -> tuple[int, ...] | None:
    numbers = re.match(r"(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?", version)
    return None if numbers is None else tuple(int(part or 0) for part in numbers.groups())


_RECORD_LOOK = text("select app.record_server_check(:url, :well, :latency, :version, :uptime, :code, :detail)")
_RECORD_SCAN = text("select app.record_server_scan(:url, :found)")
_RUNNING_SESSIONS = _QUERIES["running_sessions"]
