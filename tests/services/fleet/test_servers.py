"""The servers as rows: what a look and a scan find, where a session goes, and that nobody else is ever called."""

import threading
from typing import Any

import pytest

from sandbox.server import running_sandbox
from sandbox.state import Config
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.errors import Forbidden, InvalidInput, NotFound
from services.fleet import server_health, servers
from services.fleet.server_health import FACTORY_SECRET, ServerWarning
from services.wppconnect.shared import get_client
from tests.support.databases import Database
from tests.support.servers import ServerPair, configure_servers, get_server, insert_sessions, switch_fault
from tests.support.sessions import connected
from tests.support.waiting import wait_for

# --- a look -------------------------------------------------------------------------------------------------------


def test_it_registers_the_configured_servers_and_sees_how_they_are(server_pair: ServerPair, staff: Actor) -> None:
    switch_fault(server_pair[1], "server_down")
    server_health.update_health(staff)
    well, ill = servers.list_servers(staff)
    assert (well.url, well.number, well.position) == (server_pair[0].url, 1, 1)
    assert (well.healthy, well.error, well.configured) == (True, None, True)
    assert well.latency_ms is not None
    assert well.started_at is not None
    assert well.scanned_at is not None
    assert (ill.url, ill.number, ill.healthy, ill.latency_ms) == (server_pair[1].url, 2, False, None)
    assert (ill.error, ill.error_detail) == ("wppconnect_inacessivel", "status-session: RemoteProtocolError")
    assert ill.scanned_at is None, "nothing was asked of a server that does not answer"


def test_it_knows_since_when_a_server_is_well_and_keeps_its_last_error(server_pair: ServerPair) -> None:
    switch_fault(server_pair[0], "server_down")
    server_health.update_health(SYSTEM)
    server_health.update_health(SYSTEM)
    down = get_server(server_pair[0])
    assert down.state_since is not None
    assert down.state_since < (down.checked_at or down.state_since), "the second look changed nothing"
    switch_fault(server_pair[0], "server_down", on=False)
    server_health.update_health(SYSTEM)
    up = get_server(server_pair[0])
    assert (up.healthy, up.state_since, up.error) == (True, up.checked_at, "wppconnect_inacessivel")
    assert up.error_at == down.checked_at


def test_it_tells_a_refused_secret_from_an_outage(server_pair: ServerPair, monkeypatch: pytest.MonkeyPatch) -> None:
    configure_servers(monkeypatch, (server_pair[0].url,), ("another-secret-than-the-server-has",))
    server_health.update_health(SYSTEM)
    assert (get_server(server_pair[0]).healthy, get_server(server_pair[0]).error) == (False, "wppconnect_token")


def test_it_learns_the_version_from_a_session_that_runs_and_forgets_it_at_a_restart(
    server_pair: ServerPair, user: Actor, database: Database
) -> None:
    server_health.update_health(SYSTEM)
    assert get_server(server_pair[0]).version is None, "nobody runs there, so nobody tells"
    connected(database, user, server_pair[0].url)
    get_client().start_session(server_pair[0].url, f"user_{user.user_id}", "http://127.0.0.1:9")
    wait_for(lambda: get_client().status_session(server_pair[0].url, f"user_{user.user_id}").version)
    server_health.update_health(SYSTEM)
    assert (get_server(server_pair[0]).version, get_server(server_pair[1]).version) == ("2.10.4", None)
    database.execute("update whatsapp_sessions set status = 'desconectado'")
    server_health.update_health(SYSTEM)
    assert get_server(server_pair[0]).version == "2.10.4"
    started = get_server(server_pair[0]).started_at
    server_health.update_health(SYSTEM)
    assert get_server(server_pair[0]).started_at == started, "the same start, however it is rounded"
    database.execute("update wpp_servers set started_at = started_at - interval '1 hour'")
    server_health.update_health(SYSTEM)
    assert get_server(server_pair[0]).version is None


def test_it_looks_at_all_servers_at_once(server_pair: ServerPair) -> None:
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


def test_it_counts_the_sessions_of_each_server(server_pair: ServerPair, database: Database) -> None:
    insert_sessions(database, server_pair[0].url, 3)
    insert_sessions(database, server_pair[0].url, 2, "pareando")
    insert_sessions(database, server_pair[0].url, 1, "desconectado")
    one, other = servers.list_servers(SYSTEM)
    assert (one.connected, one.pairing, one.disconnected, one.load) == (3, 2, 1, 5)
    assert (other.load, other.disconnected) == (0, 0)


# --- a scan -------------------------------------------------------------------------------------------------------


def test_it_warns_of_what_a_stock_server_leaves_open_and_harms_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch, user: Actor
) -> None:
    with running_sandbox(Config(secret=FACTORY_SECRET, clock_scale=0.02)) as stock:
        configure_servers(monkeypatch, (stock.url,), (FACTORY_SECRET,))
        switch_fault(stock, "old_version", version="2.8.6")
        connected(database, user, stock.url)
        get_client().start_session(stock.url, f"user_{user.user_id}", "http://127.0.0.1:9")
        wait_for(lambda: get_client().status_session(stock.url, f"user_{user.user_id}").version)
        server_health.update_health(SYSTEM, scan=True)
        assert set(get_server(stock).warnings) == set(ServerWarning)
        assert stock.world.sessions.keys() == {f"user_{user.user_id}"}, "and cleared nothing"
        assert stock.running, "it asked for /unhealthy in a way that kills nobody"
        assert stock.world.sockets == {}, "and left the socket again"


def test_it_is_content_with_a_guarded_server_and_sees_when_it_gets_worse(server_pair: ServerPair) -> None:
    switch_fault(server_pair[0], "paths_blocked")
    switch_fault(server_pair[1], "socket_refuses")
    server_health.update_health(SYSTEM)
    assert [one.warnings for one in servers.list_servers(SYSTEM)] == [(), (ServerWarning.UNHEALTHY,)]
    switch_fault(server_pair[0], "paths_blocked", on=False)
    server_health.update_health(SYSTEM)
    assert get_server(server_pair[0]).warnings == (), "scanned within the hour"
    server_health.update_health(SYSTEM, scan=True)
    assert get_server(server_pair[0]).warnings == (ServerWarning.UNHEALTHY, ServerWarning.OPEN_SOCKET)


def test_it_finds_the_factory_secret_behind_a_wrong_configuration_too(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_sandbox(Config(secret=FACTORY_SECRET)) as stock:
        configure_servers(monkeypatch, (stock.url,), ("what we believe to be its secret",))
        server_health.update_health(SYSTEM, scan=True)
        assert ServerWarning.FACTORY_SECRET in get_server(stock).warnings
        assert not get_server(stock).healthy


@pytest.mark.parametrize(
    ("version", "old"), [("2.10.4", False), ("2.10.3", True), ("2.9", True), ("3.0.0-beta", False), ("nightly", False)]
)
def test_it_calls_a_version_old_that_is_older_than_the_measured_one(version: str, old: bool) -> None:
    assert server_health._is_old(version) is old


@pytest.mark.parametrize(("version", "known"), [("2.10.4", True), ("2.8.6", True), ("2.10.5", False), ("3.0", False)])
def test_it_says_that_a_wrong_secret_acts_by_the_version_and_nothing_else(
    server_pair: ServerPair, user: Actor, database: Database, version: str, known: bool
) -> None:
    switch_fault(server_pair[0], "old_version", version=version)
    server_health.update_health(SYSTEM, scan=True)
    assert ServerWarning.WRONG_SECRET not in get_server(server_pair[0]).warnings, "nobody has told the version yet"
    connected(database, user, server_pair[0].url)
    get_client().start_session(server_pair[0].url, f"user_{user.user_id}", "http://127.0.0.1:9")
    wait_for(lambda: get_client().status_session(server_pair[0].url, f"user_{user.user_id}").version)
    server_health.update_health(SYSTEM, scan=True)
    assert (ServerWarning.WRONG_SECRET in get_server(server_pair[0]).warnings) is known


def test_it_does_not_warn_of_a_route_that_never_gets_to_the_server(
    server_pair: ServerPair, user: Actor, database: Database
) -> None:
    connected(database, user, server_pair[0].url)
    get_client().start_session(server_pair[0].url, f"user_{user.user_id}", "http://127.0.0.1:9")
    wait_for(lambda: get_client().status_session(server_pair[0].url, f"user_{user.user_id}").version)
    switch_fault(server_pair[0], "other_answer", route="clear-session-data", status=403, body={})
    server_health.update_health(SYSTEM, scan=True)
    assert ServerWarning.WRONG_SECRET not in get_server(server_pair[0]).warnings


# --- who may ------------------------------------------------------------------------------------------------------


def test_only_staff_see_the_servers_and_only_admins_change_them(
    server_pair: ServerPair, user: Actor, staff: Actor
) -> None:
    for act in (servers.list_servers, server_health.update_health):
        with pytest.raises(Forbidden):
            act(user)
    for actor in (user, staff):
        with pytest.raises(Forbidden):
            servers.drain(actor, server_pair[0].url, True)
        with pytest.raises(Forbidden):
            servers.set_capacity(actor, server_pair[0].url, 5)


def test_it_records_what_an_admin_changes_and_never_an_address(
    server_pair: ServerPair, admin: Actor, database: Database
) -> None:
    servers.set_capacity(admin, server_pair[1].url, 7)
    servers.drain(admin, server_pair[1].url, True)
    servers.drain(admin, server_pair[1].url, False)
    assert get_server(server_pair[1]).capacity == 7
    assert get_server(server_pair[1]).drained_at is None
    number = str(get_server(server_pair[1]).number)
    assert database.execute("select action, subject, detail from audit_log order by id") == [
        ("server.capacity", number, {"capacity": 7}),
        ("server.drain", number, {}),
        ("server.undrain", number, {}),
    ]


def test_it_changes_no_server_that_is_not_configured_nor_to_a_senseless_capacity(
    server_pair: ServerPair, admin: Actor
) -> None:
    with pytest.raises(NotFound):
        servers.drain(admin, "http://somewhere.else", True)
    for senseless in (-1, 100_001):
        with pytest.raises(InvalidInput):
            servers.set_capacity(admin, server_pair[0].url, senseless)


def test_the_database_keeps_the_rows_from_users_and_changes_from_operators(
    server_pair: ServerPair, user: Actor, staff: Actor, database: Database
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
