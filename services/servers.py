"""The WPPConnect servers of this installation: which there are, how they are, and where a new session goes.

The configuration (`WPP_SERVER_URL`, `WPP_SERVER_TOKEN`) says which servers there are and alone knows their secrets. A
row of `wpp_servers` stands for each; whoever works with the rows registers those that are missing first. A row whose
address is configured no longer is shown as such, gets no new session and is never called: the client refuses every
address that is not configured before anything leaves, also one that somebody wrote into a session's row.

Where a start goes. A session that was paired has its data on its server, so it stays there: full, or not answering at
this moment, is no reason to make its owner scan again. It is placed anew when its server is drained or configured no
longer; that is how one that is gone for good is left. One that was never paired has nothing to lose and is placed anew
at each start. The server with most room gets it: capacity minus the sessions there that are not `desconectado`. Those
whose newest look failed come last instead of never, because a look may be older than the recovery, and because the
call's own error says more than that there is no room.

A look asks for a session's state, which proves address and secret at once and tells the version while a session runs
there; `healthz` tells since when it is up. A scan asks what no stranger should be answered; see `Finding`.

A check holds a server against all that this console relies on and can be seen without a phone (`wppconnect.check`). It
takes up to two minutes, so it runs in a thread and writes into its row how far it is; a row that is not finished long
after is one of a process that ended. The newest result of each version stays.
"""

import contextlib
import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import structlog
from sqlalchemy import Connection, delete, func, null, select, text, update
from sqlalchemy.dialects import postgresql

from services import audit, settings
from services.db.actor import Actor, ActorKind, Role
from services.db.engine import transaction
from services.db.models import Record, server_checks, wpp_servers
from services.db.models import sessions as session_rows
from services.errors import (
    CheckUnderWay,
    DatabaseUnavailable,
    Forbidden,
    InvalidInput,
    NoServerAvailable,
    NotFound,
    WppError,
    WppUnauthorized,
    WppUnreachable,
)
from services.wppconnect import check as contract_check
from services.wppconnect import contract
from services.wppconnect.connection import client
from services.wppconnect.contract import Fact, Outcome, Report

log = structlog.get_logger(__name__)

# The secret with which wppconnect-server runs when nobody has set one (its own configuration file).
FACTORY_SECRET = "THISISMYSECURETOKEN"
# Under the version against which this console's knowledge of the server was measured, it knows nothing of its faults.
MEASURED_VERSION = (2, 10, 4)
# Asked about where no session of ours runs: the server has never heard of it and keeps nothing of the question.
NOBODY = "plushify-look"
SCAN_AGE = timedelta(hours=1)
LOOKS_AT_ONCE = 8
# A check takes two minutes; one that is older and not finished is one of a process that ended.
CHECK_LIFETIME = timedelta(minutes=5)
MAX_CAPACITY = 100_000


class Finding(StrEnum):
    """What a scan found that should not be."""

    FACTORY_SECRET = "factory_secret"  # whoever reads the server's documentation can use every session
    UNHEALTHY = "unhealthy"  # GET /unhealthy gets through and ends the server, whoever asks
    OPEN_SOCKET = "open_socket"  # socket.io tells everybody the QR codes and messages of all sessions
    OLD_VERSION = "old_version"  # older than MEASURED_VERSION
    # clear-session-data and start-all act with a wrong secret, though they answer 400. Known of every version up to
    # MEASURED_VERSION from its source and its recordings; from outside the answer looks like a refusal.
    WRONG_SECRET = "wrong_secret"


@dataclass(frozen=True)
class Check:
    """One check of a server. `finished_at` None: it runs, or with `cut_off` the process that ran it has ended.

    `error`: the code of what kept the server from being looked at; then there are no `facts`.
    """

    started_at: datetime
    finished_at: datetime | None
    done: int
    steps: int
    version: str | None
    error: str | None
    facts: tuple[Fact, ...]

    @property
    def cut_off(self) -> bool:
        return self.finished_at is None and datetime.now(UTC) - self.started_at > CHECK_LIFETIME

    def of(self, outcome: Outcome) -> list[Fact]:
        """The facts of that outcome."""
        return [fact for fact in self.facts if fact.outcome is outcome]


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
    looked_at: datetime | None
    latency_ms: int | None
    version: str | None
    started_at: datetime | None
    error: str | None
    error_detail: str | None
    error_at: datetime | None
    scanned_at: datetime | None
    warnings: tuple[Finding, ...]
    connected: int
    pairing: int
    disconnected: int
    checks: tuple[Check, ...] = ()  # newest first: at most one that is not finished, and the newest of each version

    @property
    def running_check(self) -> Check | None:
        """The check that is not finished."""
        return next((check for check in self.checks if check.finished_at is None), None)

    @property
    def failed_check(self) -> Check | None:
        """The newest finished check, where it could not look at the server."""
        newest = next((check for check in self.checks if check.finished_at is not None), None)
        return newest if newest is not None and newest.error is not None else None

    @property
    def last_check(self) -> Check | None:
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
        return contract_check.is_here(self.url)

    @property
    def load(self) -> int:
        """Sessions that take a place."""
        return self.connected + self.pairing


@dataclass(frozen=True)
class _Seen:
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


# --- what staff do ----------------------------------------------------------------------------------------------------


def listing(actor: Actor) -> list[Server]:
    """Every server that is or was configured, in the order of the configuration, for staff. Raises Forbidden."""
    _require_staff(actor)
    urls = list(settings.get().servers())
    with transaction(actor) as tx:
        _register(tx, urls)
        rows = tx.execute(_listed(urls)).all()
        checks = tx.execute(select(server_checks).order_by(server_checks.c.id.desc())).all()
    return [_server(row, [_check(one) for one in checks if one.url == row.url]) for row in rows]


def drain(actor: Actor, url: str, on: bool) -> None:
    """Send no new session to a server, or send it some again; those that are up there stay. For admins, on the record.

    Raises Forbidden, and NotFound for a server that is not configured.
    """
    with transaction(actor) as tx:
        since = func.coalesce(wpp_servers.c.drained_at, func.now())
        _change(tx, actor, url, drained_at=since if on else null())
        audit.record(tx, actor, "server.drain" if on else "server.undrain", _number(tx, url))


def set_capacity(actor: Actor, url: str, n: int) -> None:
    """How many sessions a server takes at most; more that are there already stay. For admins, on the record.

    Raises Forbidden, InvalidInput, and NotFound for a server that is not configured.
    """
    if not 0 <= n <= MAX_CAPACITY:
        raise InvalidInput(f"capacity {n}")
    with transaction(actor) as tx:
        _change(tx, actor, url, capacity=n)
        audit.record(tx, actor, "server.capacity", _number(tx, url), capacity=n)


def check(actor: Actor, url: str, *, clock: float = 1.0) -> None:
    """Begin to hold a server against the contract, for admins, on the record; `listing` says how far it is.

    The facts about webhooks are checked for a server on this machine only: nobody knows where another would reach this
    process. `clock`: how many seconds a second of a stand-in's takes.

    Raises Forbidden, NotFound for a server that is not configured, and CheckUnderWay.
    """
    with transaction(actor) as tx:
        _change(tx, actor, url)
        lost = server_checks.c.started_at < func.now() - CHECK_LIFETIME
        tx.execute(delete(server_checks).where(server_checks.c.url == url, server_checks.c.finished_at.is_(None), lost))
        begun = postgresql.insert(server_checks).values(url=url, steps=len(contract.FACTS)).on_conflict_do_nothing()
        check_id = tx.execute(begun.returning(server_checks.c.id)).scalar_one_or_none()
        if check_id is None:
            raise CheckUnderWay("one is not finished")
        audit.record(tx, actor, "server.check", _number(tx, url))
    threading.Thread(target=_hold, args=(actor, url, check_id, clock), name="check", daemon=True).start()


def look(actor: Actor, *, scan: bool = False) -> None:
    """Look at all configured servers at once and write down how they are, for staff and the worker. Raises Forbidden.

    Those that were not scanned within the last hour, or all with `scan`, are scanned too. No answer of a server makes
    this fail: it is what is written down.
    """
    _require_staff(actor)
    urls = list(settings.get().servers())
    with transaction(actor) as tx:
        _register(tx, urls)
        running = {row.url: row.session_id for row in tx.execute(_RUNNING, {"urls": urls})}
        due = wpp_servers.c.scanned_at.is_(None) | (wpp_servers.c.scanned_at < func.now() - SCAN_AGE)
        unscanned = set(tx.execute(select(wpp_servers.c.url).where(due)).scalars())
    with ThreadPoolExecutor(min(len(urls), LOOKS_AT_ONCE), thread_name_prefix="look") as pool:
        list(pool.map(lambda url: _look(actor, url, running.get(url, NOBODY), scan or url in unscanned), urls))


# --- what a start asks ------------------------------------------------------------------------------------------------


def choose(tx: Connection, home: str | None = None) -> str:
    """The server for a session's start, by the rule above; `home` is where its data are. Raises NoServerAvailable.

    The place is taken when the caller's transaction has written the session and committed: until then others wait.
    """
    chosen = tx.execute(_CHOOSE, {"urls": list(settings.get().servers()), "home": home}).scalar_one()
    if chosen is None:
        raise NoServerAvailable("no server has room")
    return str(chosen)


def is_configured(url: str | None) -> bool:
    """Whether an address may be called at all."""
    return url in settings.get().servers()


# --- one check --------------------------------------------------------------------------------------------------------


def _hold(actor: Actor, url: str, check_id: int, clock: float) -> None:
    report, error = Report(None, ()), None
    secret, where = settings.get().servers()[url], contract_check.default_listen(url)
    try:
        report = contract_check.check(url, secret, where, lambda done, _of: _note_step(actor, check_id, done), clock)
    except WppError as failure:
        error = failure.code
    except OSError:  # this process has no port left
        error = WppUnreachable.code
    try:
        _note_check(actor, url, check_id, report, error)
    except DatabaseUnavailable:
        log.warning("check_lost", done=len(report.facts))  # its row says so: it is never finished


def _note_step(actor: Actor, check_id: int, done: int) -> None:
    # A database that is away for a moment costs the screen a step and must not cost the check its tidying up.
    with contextlib.suppress(DatabaseUnavailable), transaction(actor) as tx:
        tx.execute(update(server_checks).where(server_checks.c.id == check_id).values(done=done))


def _note_check(actor: Actor, url: str, check_id: int, report: Report, error: str | None) -> None:
    facts = [
        {"name": one.name, "outcome": one.outcome, "expected": one.expected, "answered": one.answered}
        for one in report.facts
    ]
    with transaction(actor) as tx:
        same = server_checks.c.version.is_not_distinct_from(report.version)
        earlier = server_checks.c.finished_at.is_not(None)
        tx.execute(delete(server_checks).where(server_checks.c.url == url, earlier, same))
        tx.execute(
            update(server_checks)
            .where(server_checks.c.id == check_id)
            .values(finished_at=func.now(), version=report.version, error=error, facts=facts)
        )


# --- one look ---------------------------------------------------------------------------------------------------------


def _look(actor: Actor, url: str, session: str, scan: bool) -> None:
    seen = _see(url, session)
    found = _scan(url, seen.version) if seen.answers and scan else None
    with transaction(actor) as tx:
        tx.execute(
            _NOTE_LOOK,
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
            tx.execute(_NOTE_SCAN, {"url": url, "found": [str(one) for one in found]})


def _see(url: str, session: str) -> _Seen:
    started = time.perf_counter()
    try:
        state = client().status_session(url, session)
    except WppError as error:
        return _Seen(well=False, code=error.code, detail=error.detail)
    latency = round((time.perf_counter() - started) * 1000)
    try:
        uptime = client().uptime(url)
    except WppError:
        uptime = None  # a proxy may keep that path to itself
    return _Seen(well=True, latency_ms=latency, version=state.version, uptime=uptime)


def _scan(url: str, version: str | None) -> list[Finding] | None:
    """What should not be; None where it could not be found out."""
    found = []
    try:
        if client().accepts_secret(url, NOBODY, FACTORY_SECRET):
            found.append(Finding.FACTORY_SECRET)
    except WppError as error:
        log.warning("scan_unanswered", error=type(error).__name__)
        return None
    if _answers(client().lets_unhealthy_through, url):
        found.append(Finding.UNHEALTHY)
    if _answers(client().socket_is_open, url):
        found.append(Finding.OPEN_SOCKET)
    if version is not None and _is_old(version):
        found.append(Finding.OLD_VERSION)
    if version is not None and _is_known(version) and _answers(client().lets_clear_through, url):
        found.append(Finding.WRONG_SECRET)
    return found


def _answers(ask: Callable[[str], bool], url: str) -> bool:
    """The server answered a moment ago: where nobody answers now, something in front of it keeps the path shut."""
    try:
        return ask(url)
    except WppError:
        return False


def _is_old(version: str) -> bool:
    numbers = _numbers(version)
    return numbers is not None and numbers < MEASURED_VERSION


def _is_known(version: str) -> bool:
    numbers = _numbers(version)
    return numbers is not None and numbers <= MEASURED_VERSION


def _numbers(version: str) -> tuple[int, ...] | None:
    numbers = re.match(r"(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?", version)
    return None if numbers is None else tuple(int(part or 0) for part in numbers.groups())


# --- statements and rows ----------------------------------------------------------------------------------------------

_CHOOSE = text("select app.choose_server(:urls, :home)")
_NOTE_LOOK = text("select app.note_look(:url, :well, :latency, :version, :uptime, :code, :detail)")
_NOTE_SCAN = text("select app.note_scan(:url, :found)")
# A session that runs, for each server: asking about it tells the version.
_RUNNING = text(
    "select given.url, one.session_id from unnest(cast(:urls as text[])) as given (url) cross join lateral ("
    " select w.session_id from public.whatsapp_sessions w where w.server_url = given.url and w.status = 'conectado'"
    " limit 1) one"
)


def _register(tx: Connection, urls: list[str]) -> None:
    tx.execute(text("select app.register_servers(:urls)"), {"urls": urls})


def _change(tx: Connection, actor: Actor, url: str, **values: Any) -> None:
    if actor.role is not Role.ADMIN:
        raise Forbidden("servers")
    if not is_configured(url):
        raise NotFound("a server that is not configured")
    _register(tx, [url])
    if values:
        tx.execute(update(wpp_servers).where(wpp_servers.c.url == url).values(**values))


def _number(tx: Connection, url: str) -> str:
    """What the record calls a server by: addresses stay out of it."""
    return str(tx.execute(select(wpp_servers.c.number).where(wpp_servers.c.url == url)).scalar_one())


def _listed(urls: list[str]) -> Any:
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
    return (
        select(wpp_servers, position, counted.c.connected, counted.c.pairing, counted.c.disconnected)
        .select_from(wpp_servers.outerjoin(counted, counted.c.server_url == wpp_servers.c.url))
        .order_by(position.nulls_last(), wpp_servers.c.number)
    )


def _require_staff(actor: Actor) -> None:
    if not (actor.is_staff or actor.kind is ActorKind.SYSTEM):
        raise Forbidden("servers")


def _check(row: Record) -> Check:
    facts = (Fact(one["name"], Outcome(one["outcome"]), one["expected"], one["answered"]) for one in row.facts)
    return Check(row.started_at, row.finished_at, row.done, row.steps, row.version, row.error, tuple(facts))


def _server(row: Record, checks: Sequence[Check]) -> Server:
    return Server(
        url=row.url,
        number=row.number,
        position=row.position,
        capacity=row.capacity,
        drained_at=row.drained_at,
        healthy=row.healthy,
        state_since=row.state_since,
        looked_at=row.looked_at,
        latency_ms=row.latency_ms,
        version=row.version,
        started_at=row.started_at,
        error=row.error,
        error_detail=row.error_detail,
        error_at=row.error_at,
        scanned_at=row.scanned_at,
        warnings=tuple(Finding(one) for one in row.warnings),
        connected=row.connected or 0,
        pairing=row.pairing or 0,
        disconnected=row.disconnected or 0,
        checks=tuple(checks),
    )
