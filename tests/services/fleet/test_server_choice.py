"""Which server a session goes to, and that no other is ever called."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.errors import ConfigurationError
from services.fleet import checks, commands, server_health, servers, session
from services.fleet.servers import NoServerAvailable
from services.fleet.session import Status
from services.messaging import outbox
from services.messaging.dispatcher import Dispatcher
from services.messaging.pace import Pace
from services.wppconnect.errors import WppError
from services.wppconnect.shared import get_client
from tests.support.databases import Database
from tests.support.sandbox_control import SandboxControl
from tests.support.servers import (
    SERVER_SECRETS,
    ServerPair,
    choose,
    configure_servers,
    get_server,
    insert_sessions,
    server_of,
)
from tests.support.sessions import connected
from tests.support.waiting import wait_for


def test_it_chooses_the_server_with_most_room_and_the_first_by_address_of_equals(
    server_pair: ServerPair, database: Database, admin: Actor
) -> None:
    urls = sorted(server.url for server in server_pair)
    assert choose() == urls[0]
    insert_sessions(database, urls[0], 2)
    assert choose() == urls[1]
    insert_sessions(database, urls[1], 3, "desconectado")
    assert choose() == urls[1], "who is not connected takes no place"
    servers.set_capacity(admin, urls[1], 98)
    assert choose() == urls[0]


def test_it_passes_over_drained_full_and_unconfigured_servers(
    server_pair: ServerPair, database: Database, admin: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = server_pair
    servers.drain(admin, first.url, True)
    assert choose() == second.url
    servers.set_capacity(admin, second.url, 1)
    insert_sessions(database, second.url, 1)
    with pytest.raises(NoServerAvailable) as refused:
        choose()
    assert refused.value.http_status == 503
    assert refused.value.safe_to_retry
    servers.drain(admin, first.url, False)
    assert choose() == first.url
    configure_servers(monkeypatch, (second.url,), (SERVER_SECRETS[1],))
    with pytest.raises(NoServerAvailable):
        choose()
    gone = get_server(first)
    assert (gone.position, gone.configured) == (None, False)


def test_it_prefers_a_server_that_answers_and_tries_a_silent_one_only_for_want_of_another(
    server_pair: ServerPair, database: Database, admin: Actor
) -> None:
    first, second = server_pair
    servers.set_capacity(admin, first.url, 500)
    first.stop()
    server_health.update_health(SYSTEM)
    assert choose() == second.url
    servers.drain(admin, second.url, True)
    assert choose() == first.url
    servers.drain(admin, second.url, False)
    database.execute("update wpp_servers set checked_at = now() - interval '1 hour'")
    assert choose() == first.url, "a look that old says nothing"


def test_two_starts_never_take_the_same_last_place(server_pair: ServerPair, database: Database, admin: Actor) -> None:
    servers.drain(admin, server_pair[1].url, True)
    servers.set_capacity(admin, server_pair[0].url, 1)
    with ThreadPoolExecutor(1) as other:
        with transaction(SYSTEM) as tx:
            assert servers.choose_server(tx) == server_pair[0].url
            second = other.submit(choose)
            waiting = (
                "select count(*) from pg_stat_activity where wait_event = 'advisory' and datname = current_database()"
            )
            wait_for(lambda: database.one(waiting) == 1)
            owner = uuid4()
            database.execute("insert into auth.users (id) values (%s)", owner)
            tx.exec_driver_sql(
                "insert into whatsapp_sessions (user_id, session_id, status, server_url)"
                " values (%s, %s, 'pareando', %s)",
                (owner, f"user_{owner}", server_pair[0].url),
            )
        with pytest.raises(NoServerAvailable):
            second.result(10)


def test_choosing_counts_by_the_index(server_pair: ServerPair, database: Database) -> None:
    insert_sessions(database, server_pair[0].url, 3000)
    insert_sessions(database, "http://somewhere.else", 3000)
    insert_sessions(database, server_pair[1].url, 10)
    database.execute("vacuum analyze whatsapp_sessions")
    plans: list[str] = []
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.add_notice_handler(lambda notice: plans.append(notice.message_primary or ""))
        connection.execute(
            "load 'auto_explain'; set auto_explain.log_min_duration = 0; set auto_explain.log_nested_statements = on;"
            " set client_min_messages = log"
        )
        connection.execute("select app.choose_server(%s, null)", [[server.url for server in server_pair]])
    assert "whatsapp_sessions_server" in "\n".join(plans)
    assert "Seq Scan on whatsapp_sessions" not in "\n".join(plans)


def paired(database: Database, actor: Actor, url: str) -> UUID:
    """A session that was connected once and is not now; its data are on its server."""
    session_id = connected(database, actor, url)
    database.execute("update whatsapp_sessions set status = 'desconectado' where id = %s", session_id)
    return session_id


def test_a_new_session_goes_where_most_room_is(
    server_pair: ServerPair, database: Database, new_actor: Callable[..., Actor]
) -> None:
    first, second = sorted(server.url for server in server_pair)
    one, two = new_actor(), new_actor()
    commands.connect(one)
    commands.connect(two)
    assert (server_of(database, one), server_of(database, two)) == (first, second)


def test_a_paired_session_stays_also_where_its_server_is_full(
    server_pair: ServerPair, database: Database, user: Actor, admin: Actor
) -> None:
    paired(database, user, server_pair[1].url)
    insert_sessions(database, server_pair[1].url, 2)
    servers.set_capacity(admin, server_pair[1].url, 1)
    commands.connect(user)
    assert server_of(database, user) == server_pair[1].url


def test_a_paired_session_moves_off_a_drained_server_and_leaves_nothing_running_there(
    server_pair: ServerPair, database: Database, user: Actor, admin: Actor
) -> None:
    first, second = server_pair
    servers.drain(admin, second.url, True)
    paired(database, user, second.url)
    name = f"user_{user.user_id}"
    get_client().start_session(second.url, name, "http://127.0.0.1:9")
    wait_for(lambda: get_client().status_session(second.url, name).status == "QRCODE")
    assert commands.connect(user).status is Status.PAIRING
    assert server_of(database, user) == first.url
    assert get_client().status_session(second.url, name).status == "CLOSED"


def test_a_session_that_is_up_is_left_alone_by_draining(
    server_pair: ServerPair, database: Database, user: Actor, admin: Actor
) -> None:
    connected(database, user, server_pair[1].url)
    for server in server_pair:
        servers.drain(admin, server.url, True)
    assert commands.connect(user).status is Status.CONNECTED
    assert server_of(database, user) == server_pair[1].url


def test_it_begins_nothing_where_no_server_has_room(server_pair: ServerPair, user: Actor, admin: Actor) -> None:
    for server in server_pair:
        servers.set_capacity(admin, server.url, 0)
    with pytest.raises(NoServerAvailable):
        commands.connect(user)
    assert session.get(user) is None


def test_a_session_never_paired_is_not_tied_to_a_server_that_is_gone(
    server_pair: ServerPair, database: Database, user: Actor
) -> None:
    first = next(server for server in server_pair if server.url == choose())
    first.stop()
    with pytest.raises(WppError):
        commands.connect(user)
    server_health.update_health(SYSTEM)
    assert commands.connect(user).status is Status.PAIRING
    assert server_of(database, user) != first.url


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
    server_pair: ServerPair, database: Database, new_actor: Callable[..., Actor], trap: tuple[str, list[Any]]
) -> None:
    url, callers = trap
    ours = server_pair[0].url
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
    dispatcher = Dispatcher(2, Pace(0.0), on_free=lambda: None)
    while dispatcher.step():
        pass
    dispatcher.drain()
    server_health.update_health(SYSTEM, scan=True)
    assert database.one("select count(*) from messages where attempts > 0") == len(edits), "each was tried"
    assert database.one("select count(*) from messages where state in ('sent', 'accepted', 'uncertain')") == 0
    for server in server_pair:
        control = SandboxControl(server.url)
        assert control.state()["sessions"] == []
        control.close()
    commands.disconnect(people[0])
    assert commands.connect(people[0]).status is Status.PAIRING, "the way out: a server that is configured"
    assert server_of(database, people[0]) in {server.url for server in server_pair}
    assert callers == []


def test_it_calls_no_server_that_is_only_a_row(
    server_pair: ServerPair, database: Database, staff: Actor, trap: tuple[str, list[Any]]
) -> None:
    url, callers = trap
    database.execute("insert into wpp_servers (url, capacity) values (%s, 5000)", url)
    server_health.update_health(staff, scan=True)
    assert choose() != url
    assert choose(home=url) != url
    assert next(one for one in servers.list_servers(staff) if one.url == url).checked_at is None
    assert callers == []
