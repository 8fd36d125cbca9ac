"""The servers as rows: what a look and a scan find, where a session goes, and that nobody else is ever called."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from sandbox.server import SandboxServer, running_sandbox
from sandbox.state import Config
from services.db.actor import SYSTEM, Actor, Role
from services.db.engine import transaction
from services.errors import (
    CheckUnderWay,
    ConfigurationError,
    Forbidden,
    InvalidInput,
    NoServerAvailable,
    NotFound,
    WppError,
)
from services.fleet import checks, commands, contract_checks, server_health, servers
from services.fleet import session as fleet_session
from services.fleet.contract_checks import ContractCheck
from services.fleet.server_health import FACTORY_SECRET, ServerWarning
from services.fleet.servers import Server
from services.fleet.session import Status
from services.messaging import lanes, outbox
from services.messaging.dispatcher import Dispatcher
from services.wppconnect import contract_facts
from services.wppconnect.contract_facts import Outcome
from services.wppconnect.shared import get_client
from tests.conftest import Database, connected, forget_process_state
from tests.support.installation import SandboxControl, wait_for

Pair = tuple[SandboxServer, SandboxServer]
SECRETS = ("the-secret-of-the-first-server", "the-secret-of-the-second-server")


@pytest.fixture
def pair(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """Two configured servers, each with its own secret."""
    with contextlib.ExitStack() as stack:
        first, second = (
            stack.enter_context(running_sandbox(Config(secret=secret, clock_scale=0.02, hang=10.0)))
            for secret in SECRETS
        )
        configure(monkeypatch, (first.url, second.url), SECRETS)
        yield first, second


@pytest.fixture
def admin(new_actor: Callable[..., Actor]) -> Actor:
    return new_actor(Role.ADMIN)


def configure(patch: pytest.MonkeyPatch, urls: tuple[str, ...], secrets: tuple[str, ...]) -> None:
    patch.setenv("WPP_SERVER_URL", ",".join(urls))
    patch.setenv("WPP_SERVER_TOKEN", ",".join(secrets))
    patch.setenv("PUBLIC_WEBHOOK_URL", "http://127.0.0.1:9")
    forget_process_state()


def chosen(home: str | None = None) -> str:
    with transaction(SYSTEM) as tx:
        return servers.choose_server(tx, home)


def row(server: SandboxServer) -> Server:
    return next(one for one in servers.list_servers(SYSTEM) if one.url == server.url)


def fill(database: Database, url: str, count: int, status: str = "conectado") -> None:
    database.execute(
        "with people as (insert into auth.users (id) select gen_random_uuid() from generate_series(1, %s) returning id)"
        " insert into whatsapp_sessions (user_id, session_id, status, server_url)"
        " select id, 'user_' || id, %s, %s from people",
        count,
        status,
        url,
    )


def server_of(database: Database, actor: Actor) -> str:
    return str(database.one("select server_url from whatsapp_sessions where user_id = %s", actor.user_id))


def fault(server: SandboxServer, name: str, **options: Any) -> None:
    control = SandboxControl(server.url)
    control.fault(name, **options)
    control.close()


# --- a look -------------------------------------------------------------------------------------------------------


def test_it_registers_the_configured_servers_and_sees_how_they_are(pair: Pair, staff: Actor) -> None:
    fault(pair[1], "server_down")
    server_health.update_health(staff)
    well, ill = servers.list_servers(staff)
    assert (well.url, well.number, well.position) == (pair[0].url, 1, 1)
    assert (well.healthy, well.error, well.configured) == (True, None, True)
    assert well.latency_ms is not None
    assert well.started_at is not None
    assert well.scanned_at is not None
    assert (ill.url, ill.number, ill.healthy, ill.latency_ms) == (pair[1].url, 2, False, None)
    assert (ill.error, ill.error_detail) == ("wppconnect_inacessivel", "status-session: RemoteProtocolError")
    assert ill.scanned_at is None, "nothing was asked of a server that does not answer"


def test_it_knows_since_when_a_server_is_well_and_keeps_its_last_error(pair: Pair) -> None:
    fault(pair[0], "server_down")
    server_health.update_health(SYSTEM)
    server_health.update_health(SYSTEM)
    down = row(pair[0])
    assert down.state_since is not None
    assert down.state_since < (down.checked_at or down.state_since), "the second look changed nothing"
    fault(pair[0], "server_down", on=False)
    server_health.update_health(SYSTEM)
    up = row(pair[0])
    assert (up.healthy, up.state_since, up.error) == (True, up.checked_at, "wppconnect_inacessivel")
    assert up.error_at == down.checked_at


def test_it_tells_a_refused_secret_from_an_outage(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, (pair[0].url,), ("another-secret-than-the-server-has",))
    server_health.update_health(SYSTEM)
    assert (row(pair[0]).healthy, row(pair[0]).error) == (False, "wppconnect_token")


def test_it_learns_the_version_from_a_session_that_runs_and_forgets_it_at_a_restart(
    pair: Pair, user: Actor, database: Database
) -> None:
    server_health.update_health(SYSTEM)
    assert row(pair[0]).version is None, "nobody runs there, so nobody tells"
    connected(database, user, pair[0].url)
    get_client().start_session(pair[0].url, f"user_{user.user_id}", "http://127.0.0.1:9")
    wait_for(lambda: get_client().status_session(pair[0].url, f"user_{user.user_id}").version)
    server_health.update_health(SYSTEM)
    assert (row(pair[0]).version, row(pair[1]).version) == ("2.10.4", None)
    database.execute("update whatsapp_sessions set status = 'desconectado'")
    server_health.update_health(SYSTEM)
    assert row(pair[0]).version == "2.10.4"
    started = row(pair[0]).started_at
    server_health.update_health(SYSTEM)
    assert row(pair[0]).started_at == started, "the same start, however it is rounded"
    database.execute("update wpp_servers set started_at = started_at - interval '1 hour'")
    server_health.update_health(SYSTEM)
    assert row(pair[0]).version is None


def test_it_looks_at_all_servers_at_once(pair: Pair) -> None:
    """Each server answers only once the other has been asked too."""
    both = threading.Barrier(2, timeout=10)
    look = server_health._look_at_server

    def together(url: str, session: str) -> Any:
        both.wait()
        return look(url, session)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server_health, "_look_at_server", together)
        server_health.update_health(SYSTEM)
    assert [one.healthy for one in servers.list_servers(SYSTEM)] == [True, True]


def test_it_counts_the_sessions_of_each_server(pair: Pair, database: Database) -> None:
    fill(database, pair[0].url, 3)
    fill(database, pair[0].url, 2, "pareando")
    fill(database, pair[0].url, 1, "desconectado")
    one, other = servers.list_servers(SYSTEM)
    assert (one.connected, one.pairing, one.disconnected, one.load) == (3, 2, 1, 5)
    assert (other.load, other.disconnected) == (0, 0)


# --- a scan -------------------------------------------------------------------------------------------------------


def test_it_warns_of_what_a_stock_server_leaves_open_and_harms_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch, user: Actor
) -> None:
    with running_sandbox(Config(secret=FACTORY_SECRET, clock_scale=0.02)) as stock:
        configure(monkeypatch, (stock.url,), (FACTORY_SECRET,))
        fault(stock, "old_version", version="2.8.6")
        connected(database, user, stock.url)
        get_client().start_session(stock.url, f"user_{user.user_id}", "http://127.0.0.1:9")
        wait_for(lambda: get_client().status_session(stock.url, f"user_{user.user_id}").version)
        server_health.update_health(SYSTEM, scan=True)
        assert set(row(stock).warnings) == set(ServerWarning)
        assert stock.world.sessions.keys() == {f"user_{user.user_id}"}, "and cleared nothing"
        assert stock.running, "it asked for /unhealthy in a way that kills nobody"
        assert stock.world.sockets == {}, "and left the socket again"


def test_it_is_content_with_a_guarded_server_and_sees_when_it_gets_worse(pair: Pair) -> None:
    fault(pair[0], "paths_blocked")
    fault(pair[1], "socket_refuses")
    server_health.update_health(SYSTEM)
    assert [one.warnings for one in servers.list_servers(SYSTEM)] == [(), (ServerWarning.UNHEALTHY,)]
    fault(pair[0], "paths_blocked", on=False)
    server_health.update_health(SYSTEM)
    assert row(pair[0]).warnings == (), "scanned within the hour"
    server_health.update_health(SYSTEM, scan=True)
    assert row(pair[0]).warnings == (ServerWarning.UNHEALTHY, ServerWarning.OPEN_SOCKET)


def test_it_finds_the_factory_secret_behind_a_wrong_configuration_too(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_sandbox(Config(secret=FACTORY_SECRET)) as stock:
        configure(monkeypatch, (stock.url,), ("what we believe to be its secret",))
        server_health.update_health(SYSTEM, scan=True)
        assert ServerWarning.FACTORY_SECRET in row(stock).warnings
        assert not row(stock).healthy


@pytest.mark.parametrize(
    ("version", "old"), [("2.10.4", False), ("2.10.3", True), ("2.9", True), ("3.0.0-beta", False), ("nightly", False)]
)
def test_it_calls_a_version_old_that_is_older_than_the_measured_one(version: str, old: bool) -> None:
    assert server_health._is_old(version) is old


@pytest.mark.parametrize(("version", "known"), [("2.10.4", True), ("2.8.6", True), ("2.10.5", False), ("3.0", False)])
def test_it_says_that_a_wrong_secret_acts_by_the_version_and_nothing_else(
    pair: Pair, user: Actor, database: Database, version: str, known: bool
) -> None:
    fault(pair[0], "old_version", version=version)
    server_health.update_health(SYSTEM, scan=True)
    assert ServerWarning.WRONG_SECRET not in row(pair[0]).warnings, "nobody has told the version yet"
    connected(database, user, pair[0].url)
    get_client().start_session(pair[0].url, f"user_{user.user_id}", "http://127.0.0.1:9")
    wait_for(lambda: get_client().status_session(pair[0].url, f"user_{user.user_id}").version)
    server_health.update_health(SYSTEM, scan=True)
    assert (ServerWarning.WRONG_SECRET in row(pair[0]).warnings) is known


def test_it_does_not_warn_of_a_route_that_never_gets_to_the_server(pair: Pair, user: Actor, database: Database) -> None:
    connected(database, user, pair[0].url)
    get_client().start_session(pair[0].url, f"user_{user.user_id}", "http://127.0.0.1:9")
    wait_for(lambda: get_client().status_session(pair[0].url, f"user_{user.user_id}").version)
    fault(pair[0], "other_answer", route="clear-session-data", status=403, body={})
    server_health.update_health(SYSTEM, scan=True)
    assert ServerWarning.WRONG_SECRET not in row(pair[0]).warnings


# --- a check ----------------------------------------------------------------------------------------------------------

CLOCK = 0.02


def checked(actor: Actor, server: SandboxServer) -> ContractCheck:
    """What came of a check."""
    contract_checks.start_check(actor, server.url, clock=CLOCK)
    wait_for(lambda: row(server).running_check is None, seconds=60)
    return row(server).checks[0]


def differing(check: ContractCheck) -> set[str]:
    return {fact.name for fact in check.of(Outcome.DIFFERS)}


def test_a_check_is_kept_by_server_and_version(pair: Pair, admin: Actor, database: Database) -> None:
    first = checked(admin, pair[0])
    assert (first.version, first.error, first.done) == ("2.10.4", None, first.steps)
    assert differing(first) == set()
    assert {fact.name for fact in first.facts} == set(contract_facts.FACTS)
    assert not first.of(Outcome.UNCHECKED), "a server on this machine reaches this process"
    again = checked(admin, pair[0])
    assert row(pair[0]).checks == (again,), "the newest of that version"
    assert row(pair[0]).last_check == again
    fault(pair[0], "old_version", version="2.11.0")
    fault(pair[0], "other_answer", route="check-connection-session", body={"connected": True})
    newer = checked(admin, pair[0])
    assert row(pair[0]).checks == (newer, again)
    assert "never started: check-connection" in differing(newer)
    assert row(pair[1]).checks == ()
    assert database.execute("select action, subject from audit_log") == [("server.check", str(row(pair[0]).number))] * 3


def test_it_warns_when_another_version_runs_than_was_checked(pair: Pair, admin: Actor, database: Database) -> None:
    def runs(version: str) -> Server:
        database.execute("update wpp_servers set version = %s where url = %s", version, pair[0].url)
        return row(pair[0])

    server_health.update_health(SYSTEM)
    assert runs("2.10.4").changed_from is None, "nothing was checked yet"
    finished(database, pair[0].url, "2.10.4")
    assert runs("2.10.4").changed_from is None
    assert runs("2.11.0").changed_from == "2.10.4"
    finished(database, pair[0].url, "2.11.0")
    assert runs("2.11.0").changed_from is None
    back = runs("2.10.4")
    assert back.changed_from is None, "that one was checked too"
    assert back.last_check is not None
    assert back.last_check.version == "2.10.4"


def finished(database: Database, url: str, version: str | None, error: str | None = None) -> None:
    database.execute(
        "insert into server_checks (url, steps, done, finished_at, version, error) values (%s, 31, 31, now(), %s, %s)",
        url,
        version,
        error,
    )


def test_a_check_that_cannot_look_says_why_and_keeps_the_last_result(
    pair: Pair, admin: Actor, database: Database
) -> None:
    server_health.update_health(SYSTEM)
    finished(database, pair[0].url, "2.10.4")
    fault(pair[0], "server_down")
    failed = checked(admin, pair[0])
    assert (failed.error, failed.version, failed.facts) == ("wppconnect_inacessivel", None, ())
    assert row(pair[0]).failed_check == failed
    last = row(pair[0]).last_check
    assert last is not None
    assert last.version == "2.10.4"


def test_one_check_of_a_server_runs_at_a_time_and_one_that_was_cut_off_makes_room(
    pair: Pair, admin: Actor, database: Database
) -> None:
    server_health.update_health(SYSTEM)
    database.execute("insert into server_checks (url, steps) values (%s, 31)", pair[0].url)
    with pytest.raises(CheckUnderWay):
        contract_checks.start_check(admin, pair[0].url, clock=CLOCK)
    assert database.one("select count(*) from audit_log") == 0
    database.execute("update server_checks set started_at = now() - interval '6 minutes'")
    running = row(pair[0]).running_check
    assert running is not None
    assert running.cut_off
    assert checked(admin, pair[0]).error is None
    assert database.one("select count(*) from server_checks") == 1


def test_a_check_is_an_admins_and_of_a_configured_server(
    pair: Pair, admin: Actor, staff: Actor, user: Actor, database: Database
) -> None:
    for actor in (staff, user):
        with pytest.raises(Forbidden):
            contract_checks.start_check(actor, pair[0].url)
    with pytest.raises(NotFound):
        contract_checks.start_check(admin, "http://127.0.0.1:9")
    assert database.one("select count(*) from server_checks") == 0


# --- choosing -----------------------------------------------------------------------------------------------------


def test_it_chooses_the_server_with_most_room_and_the_first_by_address_of_equals(
    pair: Pair, database: Database, admin: Actor
) -> None:
    urls = sorted(server.url for server in pair)
    assert chosen() == urls[0]
    fill(database, urls[0], 2)
    assert chosen() == urls[1]
    fill(database, urls[1], 3, "desconectado")
    assert chosen() == urls[1], "who is not connected takes no place"
    servers.set_capacity(admin, urls[1], 98)
    assert chosen() == urls[0]


def test_it_passes_over_drained_full_and_unconfigured_servers(
    pair: Pair, database: Database, admin: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = pair
    servers.drain(admin, first.url, True)
    assert chosen() == second.url
    servers.set_capacity(admin, second.url, 1)
    fill(database, second.url, 1)
    with pytest.raises(NoServerAvailable) as refused:
        chosen()
    assert refused.value.http_status == 503
    assert refused.value.safe_to_retry
    servers.drain(admin, first.url, False)
    assert chosen() == first.url
    configure(monkeypatch, (second.url,), (SECRETS[1],))
    with pytest.raises(NoServerAvailable):
        chosen()
    gone = row(first)
    assert (gone.position, gone.configured) == (None, False)


def test_it_prefers_a_server_that_answers_and_tries_a_silent_one_only_for_want_of_another(
    pair: Pair, database: Database, admin: Actor
) -> None:
    first, second = pair
    servers.set_capacity(admin, first.url, 500)
    first.stop()
    server_health.update_health(SYSTEM)
    assert chosen() == second.url
    servers.drain(admin, second.url, True)
    assert chosen() == first.url
    servers.drain(admin, second.url, False)
    database.execute("update wpp_servers set checked_at = now() - interval '1 hour'")
    assert chosen() == first.url, "a look that old says nothing"


def test_two_starts_never_take_the_same_last_place(pair: Pair, database: Database, admin: Actor) -> None:
    servers.drain(admin, pair[1].url, True)
    servers.set_capacity(admin, pair[0].url, 1)
    with ThreadPoolExecutor(1) as other:
        with transaction(SYSTEM) as tx:
            assert servers.choose_server(tx) == pair[0].url
            second = other.submit(chosen)
            waiting = (
                "select count(*) from pg_stat_activity where wait_event = 'advisory' and datname = current_database()"
            )
            wait_for(lambda: database.one(waiting) == 1)
            owner = uuid4()
            database.execute("insert into auth.users (id) values (%s)", owner)
            tx.exec_driver_sql(
                "insert into whatsapp_sessions (user_id, session_id, status, server_url)"
                " values (%s, %s, 'pareando', %s)",
                (owner, f"user_{owner}", pair[0].url),
            )
        with pytest.raises(NoServerAvailable):
            second.result(10)


def test_choosing_counts_by_the_index(pair: Pair, database: Database) -> None:
    fill(database, pair[0].url, 3000)
    fill(database, "http://somewhere.else", 3000)
    fill(database, pair[1].url, 10)
    database.execute("vacuum analyze whatsapp_sessions")
    plans: list[str] = []
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.add_notice_handler(lambda notice: plans.append(notice.message_primary or ""))
        connection.execute(
            "load 'auto_explain'; set auto_explain.log_min_duration = 0; set auto_explain.log_nested_statements = on;"
            " set client_min_messages = log"
        )
        connection.execute("select app.choose_server(%s, null)", [[server.url for server in pair]])
    assert "whatsapp_sessions_server" in "\n".join(plans)
    assert "Seq Scan on whatsapp_sessions" not in "\n".join(plans)


# --- where a session goes -----------------------------------------------------------------------------------------


def paired(database: Database, actor: Actor, url: str) -> UUID:
    """A session that was connected once and is not now; its data are on its server."""
    session_id = connected(database, actor, url)
    database.execute("update whatsapp_sessions set status = 'desconectado' where id = %s", session_id)
    return session_id


def test_a_new_session_goes_where_most_room_is(pair: Pair, database: Database, new_actor: Callable[..., Actor]) -> None:
    first, second = sorted(server.url for server in pair)
    one, two = new_actor(), new_actor()
    commands.connect(one)
    commands.connect(two)
    assert (server_of(database, one), server_of(database, two)) == (first, second)


def test_a_paired_session_stays_also_where_its_server_is_full(
    pair: Pair, database: Database, user: Actor, admin: Actor
) -> None:
    paired(database, user, pair[1].url)
    fill(database, pair[1].url, 2)
    servers.set_capacity(admin, pair[1].url, 1)
    commands.connect(user)
    assert server_of(database, user) == pair[1].url


def test_a_paired_session_moves_off_a_drained_server_and_leaves_nothing_running_there(
    pair: Pair, database: Database, user: Actor, admin: Actor
) -> None:
    first, second = pair
    servers.drain(admin, second.url, True)
    paired(database, user, second.url)
    name = f"user_{user.user_id}"
    get_client().start_session(second.url, name, "http://127.0.0.1:9")
    wait_for(lambda: get_client().status_session(second.url, name).status == "QRCODE")
    assert commands.connect(user).status is Status.PAIRING
    assert server_of(database, user) == first.url
    assert get_client().status_session(second.url, name).status == "CLOSED"


def test_a_session_that_is_up_is_left_alone_by_draining(
    pair: Pair, database: Database, user: Actor, admin: Actor
) -> None:
    connected(database, user, pair[1].url)
    for server in pair:
        servers.drain(admin, server.url, True)
    assert commands.connect(user).status is Status.CONNECTED
    assert server_of(database, user) == pair[1].url


def test_it_begins_nothing_where_no_server_has_room(pair: Pair, user: Actor, admin: Actor) -> None:
    for server in pair:
        servers.set_capacity(admin, server.url, 0)
    with pytest.raises(NoServerAvailable):
        commands.connect(user)
    assert fleet_session.get(user) is None


def test_a_session_never_paired_is_not_tied_to_a_server_that_is_gone(
    pair: Pair, database: Database, user: Actor
) -> None:
    first = next(server for server in pair if server.url == chosen())
    first.stop()
    with pytest.raises(WppError):
        commands.connect(user)
    server_health.update_health(SYSTEM)
    assert commands.connect(user).status is Status.PAIRING
    assert server_of(database, user) != first.url


# --- nobody else is called ----------------------------------------------------------------------------------------


@pytest.fixture
def trap() -> Iterator[tuple[str, list[Any]]]:
    """An address that nobody configured, and who called it."""
    callers: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    callers.append(listener.accept())

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", callers


def test_it_calls_no_server_that_somebody_wrote_into_a_row(
    pair: Pair, database: Database, new_actor: Callable[..., Actor], trap: tuple[str, list[Any]]
) -> None:
    url, callers = trap
    ours = pair[0].url
    edits = [url, f"{url}/", f"{ours}@{url.removeprefix('http://')}", f"{url}#{ours}", f"{ours}/../x", "", None]
    people = [new_actor() for _ in edits]
    for actor, edited in zip(people, edits, strict=True):
        session_id = connected(database, actor, edited or "")
        database.execute(
            "update whatsapp_sessions set server_url = %s, check_at = now() where id = %s", edited, session_id
        )
        outbox.queue(actor, "11987654321", "oi", "a-key")
        with pytest.raises(ConfigurationError):
            get_client().show_all_sessions(edited or "")
    assert checks.run_due_checks() == len(edits)
    dispatcher = Dispatcher(2, lanes.Pace(0.0), on_free=lambda: None)
    while dispatcher.step():
        pass
    dispatcher.drain()
    server_health.update_health(SYSTEM, scan=True)
    assert database.one("select count(*) from messages where attempts > 0") == len(edits), "each was tried"
    assert database.one("select count(*) from messages where state in ('sent', 'accepted', 'uncertain')") == 0
    for server in pair:
        control = SandboxControl(server.url)
        assert control.state()["sessions"] == []
        control.close()
    commands.disconnect(people[0])
    assert commands.connect(people[0]).status is Status.PAIRING, "the way out: a server that is configured"
    assert server_of(database, people[0]) in {server.url for server in pair}
    assert callers == []


def test_it_calls_no_server_that_is_only_a_row(
    pair: Pair, database: Database, staff: Actor, trap: tuple[str, list[Any]]
) -> None:
    url, callers = trap
    database.execute("insert into wpp_servers (url, capacity) values (%s, 5000)", url)
    server_health.update_health(staff, scan=True)
    assert chosen() != url
    assert chosen(home=url) != url
    assert next(one for one in servers.list_servers(staff) if one.url == url).checked_at is None
    assert callers == []


# --- who may ------------------------------------------------------------------------------------------------------


def test_only_staff_see_the_servers_and_only_admins_change_them(pair: Pair, user: Actor, staff: Actor) -> None:
    for act in (servers.list_servers, server_health.update_health):
        with pytest.raises(Forbidden):
            act(user)
    for actor in (user, staff):
        with pytest.raises(Forbidden):
            servers.drain(actor, pair[0].url, True)
        with pytest.raises(Forbidden):
            servers.set_capacity(actor, pair[0].url, 5)


def test_it_records_what_an_admin_changes_and_never_an_address(pair: Pair, admin: Actor, database: Database) -> None:
    servers.set_capacity(admin, pair[1].url, 7)
    servers.drain(admin, pair[1].url, True)
    servers.drain(admin, pair[1].url, False)
    assert row(pair[1]).capacity == 7
    assert row(pair[1]).drained_at is None
    number = str(row(pair[1]).number)
    assert database.execute("select action, subject, detail from audit_log order by id") == [
        ("server.capacity", number, {"capacity": 7}),
        ("server.drain", number, {}),
        ("server.undrain", number, {}),
    ]


def test_it_changes_no_server_that_is_not_configured_nor_to_a_senseless_capacity(pair: Pair, admin: Actor) -> None:
    with pytest.raises(NotFound):
        servers.drain(admin, "http://somewhere.else", True)
    for senseless in (-1, 100_001):
        with pytest.raises(InvalidInput):
            servers.set_capacity(admin, pair[0].url, senseless)


def test_the_database_keeps_the_rows_from_users_and_changes_from_operators(
    pair: Pair, user: Actor, staff: Actor, database: Database
) -> None:
    server_health.update_health(SYSTEM)
    with transaction(user) as tx:
        assert tx.exec_driver_sql("select count(*) from wpp_servers").scalar_one() == 0
    with transaction(staff) as tx:
        changed = tx.exec_driver_sql("update wpp_servers set capacity = 1, drained_at = now()")
        assert changed.rowcount == 0
    for call in ("app.register_servers('{http://x}')", "app.record_server_scan('http://x', '{}')"):
        with pytest.raises(Exception, match="only for staff"), transaction(user) as tx:
            tx.exec_driver_sql(f"select {call}")
