"""`manage.py doctor`: checks what an installation needs, and prints one line a check.

It changes nothing, and its output holds no secret: no server's address, no password, no error's own text.
"""

import http.client
import stat
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import func, select

from services import settings
from services.db.actor import SYSTEM
from services.db.engine import psycopg_url, transaction
from services.db.migrate import revisions
from services.db.tables.fleet import sessions
from services.errors import ServiceError
from services.platform import heartbeats
from services.wppconnect.errors import WppUnauthorized, WppUnreachable
from services.wppconnect.shared import get_client

OLDEST_POSTGRES = 150_000
MAX_CLOCK_SKEW_SECONDS = 2.0
ANSWER_SECONDS = 3.0
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1", "0.0.0.0")  # noqa: S104
# A session that nobody has: the server says CLOSED of it, to whoever holds the right SECRET_KEY.
UNKNOWN_SESSION = "doctor"

_LOGIN_ROLE = """
select r.rolsuper, r.rolbypassrls, r.rolcanlogin,
       (select count(*) from pg_shdepend d where d.refobjid = r.oid and d.deptype = 'o'),
       array(select distinct m.roleid::regrole::text from pg_auth_members m where m.member = r.oid order by 1)
  from pg_roles r where r.rolname = %s
"""
# The list of migrations belongs to the owner alone, who must be able to write it.
_TABLES_WITHOUT_ROW_SECURITY = """
select c.relname from pg_class c
 where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'f')
   and not (c.relrowsecurity and (c.relforcerowsecurity or c.relname = 'alembic_version')) order by 1
"""


@dataclass(frozen=True)
class CheckResult:
    """One point: `ok`, in `detail` what was seen, and in `todo` the next step where it is ill; no secrets."""

    name: str
    ok: bool
    detail: str
    todo: str = ""

    def line(self) -> str:
        """The point as one line for a terminal."""
        step = f" -> {self.todo}" if self.todo and not self.ok else ""
        return f"{'ok   ' if self.ok else 'fault'}  {self.name}: {self.detail}{step}"


def run_checks() -> Iterator[CheckResult]:
    """Every point in turn; never raises for one that is ill. Takes a few seconds where something does not answer."""
    yield from _check_database()
    yield _check_receiver()
    yield from _check_parts()
    yield from _check_servers()
    yield _check_webhook_address()
    yield _check_secrets()


def _check_database() -> Iterator[CheckResult]:
    url = settings.get().database.url
    if url is None:
        yield CheckResult("database", False, "none runs here", "start the installation (make run) or set DATABASE_URL")
        return
    try:
        with psycopg.connect(psycopg_url(url.get_secret_value()), connect_timeout=5, autocommit=True) as owner:
            yield _check_version(owner)
            yield _check_schema(url.get_secret_value())
            yield from _check_logins(owner)
            yield _check_row_security(owner)
            yield _check_clock(owner)
    except psycopg.Error as error:
        step = "start PostgreSQL and check DATABASE_URL (host, port, user, password)"
        yield CheckResult("database", False, f"cannot be reached or asked ({type(error).__name__})", step)


def _check_version(owner: psycopg.Connection) -> CheckResult:
    number = owner.info.server_version
    detail = f"reachable, PostgreSQL {number // 10_000}.{number % 10_000}"
    return CheckResult("database", number >= OLDEST_POSTGRES, detail, "upgrade it to 15 or newer")


def _check_schema(url: str) -> CheckResult:
    current, newest = revisions(url)
    detail = f"at {current or 'none'}, newest is {newest}"
    return CheckResult("migrations", current == newest, detail, "run: python manage.py migrate")


def _check_logins(owner: psycopg.Connection) -> Iterator[CheckResult]:
    configured = settings.get().database
    for name, url, group in (
        ("console login", configured.console_url, "authenticated"),
        ("system login", configured.system_url, "service_role"),
    ):
        clear = psycopg_url(url.get_secret_value())
        yield _check_login(owner, name, str(conninfo_to_dict(clear).get("user", "")), group, clear)


def _check_login(owner: psycopg.Connection, name: str, login: str, group: str, url: str) -> CheckResult:
    row = owner.execute(_LOGIN_ROLE, [login]).fetchone()
    if row is None:
        return CheckResult(name, False, f"role {login} does not exist", "run: python manage.py migrate")
    superuser, bypasses, may_sign_in, owned, groups = row
    wrong = [
        (reason, step)
        for reason, step, found in (
            ("is a superuser", f"alter role {login} nosuperuser", superuser),
            ("bypasses row level security", f"alter role {login} nobypassrls", bypasses),
            (f"owns {owned} objects", f"reassign owned by {login} to the owner in DATABASE_URL", owned),
            (
                f"is a member of {', '.join(groups) or 'nothing'}, not of {group} alone",
                f"leave {login} a member of {group} alone",
                groups != [group],
            ),
            ("cannot sign in", "check its password and its right to log in", not may_sign_in or not _can_sign_in(url)),
        )
        if found
    ]
    if not wrong:
        return CheckResult(name, True, f"{login} may become {group} and nobody else, under row level security")
    return CheckResult(name, False, "; ".join(reason for reason, _ in wrong), "; ".join(step for _, step in wrong))


def _can_sign_in(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.Error:
        return False
    return True


def _check_row_security(owner: psycopg.Connection) -> CheckResult:
    open_tables = [name for (name,) in owner.execute(_TABLES_WITHOUT_ROW_SECURITY).fetchall()]
    if not open_tables:
        return CheckResult("row level security", True, "forced on every table")
    step = "alter table … enable row level security, force row level security"
    return CheckResult("row level security", False, f"not forced on: {', '.join(open_tables)}", step)


def _check_clock(owner: psycopg.Connection) -> CheckResult:
    asked = time.time()
    ((theirs,),) = owner.execute("select clock_timestamp()").fetchall()
    ours = datetime.fromtimestamp((asked + time.time()) / 2, UTC)
    return check_clock_skew((theirs - ours).total_seconds())


def check_clock_skew(seconds: float) -> CheckResult:
    """What a difference between this machine's clock and the database's (positive: theirs is ahead) means."""
    detail = f"{abs(seconds):.2f} s apart from the database's"
    return CheckResult("clock", abs(seconds) < MAX_CLOCK_SKEW_SECONDS, detail, "keep the time on both machines (NTP)")


def _check_receiver() -> CheckResult:
    """On this machine, or where the servers reach it."""
    configured = settings.get().http
    host = "127.0.0.1" if configured.host in LOOPBACK_HOSTS else configured.host
    for address in (f"http://{host}:{configured.webhook_port}", configured.public_webhook_url):
        if (answered := _get_status(f"{address}/healthz")) is not None:
            return CheckResult("receiver", True, f"answers {answered}")
    step = "start it: python webhook.py; then look at WEBHOOK_PORT and PUBLIC_WEBHOOK_URL"
    return CheckResult("receiver", False, "does not answer /healthz", step)


def _get_status(url: str) -> int | None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=ANSWER_SECONDS) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        # 503 names a part that is ill, and that part has a line of its own.
        return error.code if error.code == 503 else None
    except (OSError, http.client.HTTPException, ValueError):
        return None


def _check_parts() -> Iterator[CheckResult]:
    steps = {
        "worker": "start it: python worker.py; if it runs, read its log",
        "inbox": "see that a worker runs and keeps up; read its log",
    }
    try:
        found = {part.name: part for part in heartbeats.list_components()}
    except ServiceError as error:
        yield CheckResult("worker", False, f"unknown: {error.code}", "mend the database first")
        return
    for name, step in steps.items():
        if (part := found.get(name)) is not None:
            yield CheckResult(name, part.ok, part.detail, step)
        elif name == "worker":
            yield CheckResult(name, False, "unknown: the database does not answer", "mend the database first")


def _check_servers() -> Iterator[CheckResult]:
    running = _get_running_sessions()
    for number, url in enumerate(settings.get().wppconnect.servers(), 1):
        yield _check_server(f"WPPConnect server {number}", url, running.get(url))


def _check_server(name: str, url: str, session: str | None) -> CheckResult:
    try:
        get_client().status_session(url, UNKNOWN_SESSION)
        # The server tells its version only with the state of a session that it has started.
        version = get_client().status_session(url, session).version if session else None
    except WppUnauthorized:
        step = "WPP_SERVER_TOKEN must be the server's SECRET_KEY"
        return CheckResult(name, False, "answers, but does not take our key", step)
    except WppUnreachable:
        step = "start it, or check WPP_SERVER_URL and the network between"
        return CheckResult(name, False, "does not answer", step)
    except ServiceError as error:
        step = "check that WPP_SERVER_URL is a wppconnect-server"
        return CheckResult(name, False, f"answers, but not as a WPPConnect server does ({error.code})", step)
    told = f"version {version}" if version else "version not told while no session runs there"
    return CheckResult(name, True, f"answers and takes our key, {told}")


def _get_running_sessions() -> dict[str, str]:
    """For each server one session that runs there; none where the database does not answer."""
    try:
        with transaction(SYSTEM) as tx:
            rows = tx.execute(
                select(sessions.c.server_url, func.min(sessions.c.session_id).label("name"))
                .where(sessions.c.status.in_(("conectado", "pareando")), sessions.c.server_url.is_not(None))
                .group_by(sessions.c.server_url)
            ).all()
    except ServiceError:
        return {}
    return {row.server_url: row.name for row in rows}


def _check_webhook_address() -> CheckResult:
    configured = settings.get()
    address = urlsplit(configured.http.public_webhook_url)
    local_servers = all(urlsplit(url).hostname in LOOPBACK_HOSTS for url in configured.wppconnect.servers())
    step = "set PUBLIC_WEBHOOK_URL to where the WPPConnect servers reach the receiver, as https://host"
    if address.hostname in LOOPBACK_HOSTS and not local_servers:
        return CheckResult(
            "PUBLIC_WEBHOOK_URL", False, "is this machine's own address, but a server is elsewhere", step
        )
    if address.username or address.query or address.fragment:
        return CheckResult("PUBLIC_WEBHOOK_URL", False, "is no plain address: user, ? and # are added or lost", step)
    if address.scheme != "https" and address.hostname not in LOOPBACK_HOSTS:
        return CheckResult("PUBLIC_WEBHOOK_URL", True, "fits the servers, but without TLS the secrets travel in clear")
    return CheckResult("PUBLIC_WEBHOOK_URL", True, "fits the servers")


def _check_secrets() -> CheckResult:
    folder = settings.get().storage.data_dir / "secrets"
    try:
        files = [folder, *folder.iterdir()] if folder.exists() else []
        loose = sorted(path.name for path in files if stat.S_IMODE(path.stat().st_mode) & 0o077)
    except OSError as error:
        return CheckResult(
            "secrets", False, f"cannot be looked at: {error.strerror}", "run this as the console's own user"
        )
    if loose:
        return CheckResult("secrets", False, f"others may read: {', '.join(loose)}", f"chmod -R go= {folder}")
    return CheckResult("secrets", True, "only their owner reads them" if files else "none are kept here")
