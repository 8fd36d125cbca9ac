"""Sessions that are past their retention: their data goes from their server first, whatever happens meanwhile."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from sandbox.server import SandboxServer
from services.db.actor import SYSTEM, Actor
from services.fleet import checks, commands
from services.fleet import session as fleet_session
from services.fleet.session import Status
from services.fleet.start_requests import SessionBeingCleaned
from services.operations import retention, session_purge
from services.operations.retention import ExpiredKind, RunState
from services.operations.retention_worker import RetentionWorker
from services.wppconnect.shared import get_client
from tests.support.databases import Database
from tests.support.retention import DEAD_SERVER, ago, count_expired, insert_ended_session, insert_message, run_cleanup
from tests.support.sandbox_control import SandboxControl
from tests.support.sessions import name_of
from tests.support.waiting import wait_for


@pytest.fixture
def stored(
    server: SandboxServer, control: SandboxControl, database: Database, new_actor: Callable[..., Actor]
) -> Callable[[], Actor]:
    """People whose session ended eight days ago and whose data the server still has."""

    def make() -> Actor:
        actor = new_actor()
        session = commands.connect(actor)
        wait_for(lambda: (control.session(session.name) or {}).get("urlcode"), what="a QR")
        control.scan(session.name, "5511987654321")
        wait_for(lambda: _on_server(control, session.name)["status"] == "CONNECTED", what="a scan")
        get_client().close_session(server.url, session.name)
        database.execute(
            "update whatsapp_sessions set status = 'desconectado', check_at = null, updated_at = %s where user_id = %s",
            ago(days=8), actor.user_id,
        )  # fmt: skip
        assert _on_server(control, session.name)["stored"]
        return actor

    return make


def _on_server(control: SandboxControl, name: str) -> dict[str, Any]:
    found = control.session(name)
    assert found is not None
    return found


def test_it_deletes_the_data_on_the_server_and_then_the_session(
    stored: Callable[[], Actor], control: SandboxControl, database: Database, cleaner: RetentionWorker
) -> None:
    actor, with_history = stored(), stored()
    kept = fleet_session.get(with_history)
    assert kept is not None
    insert_message(database, with_history, kept.id, ago(days=200))
    assert run_cleanup(cleaner).counts[ExpiredKind.SESSIONS] == 2
    for one in (actor, with_history):
        left = _on_server(control, name_of(one))
        assert (left["phone"], left["stored"]) == (None, True), "its token file is nothing that a call can delete"
    assert fleet_session.get(actor) is None
    assert fleet_session.get(with_history) is not None
    assert database.one("select count(*) from messages") == 1
    # Once is enough: the next run has nothing to ask of the server, nor this one anything to do.
    control.fault("server_down")
    again = run_cleanup(cleaner)
    assert (again.expected[ExpiredKind.SESSIONS], again.gone, again.postponed) == (0, 0, 0)


def test_it_deletes_a_session_that_only_says_that_it_is_up(
    stored: Callable[[], Actor], server: SandboxServer, control: SandboxControl, cleaner: RetentionWorker
) -> None:
    actor = stored()
    name = name_of(actor)
    get_client().start_session(server.url, name, "http://127.0.0.1:9")
    wait_for(lambda: _on_server(control, name)["status"] == "CONNECTED")
    control.fault("chrome_dies", name)
    assert run_cleanup(cleaner).counts[ExpiredKind.SESSIONS] == 1
    assert _on_server(control, name)["phone"] is None


def test_a_cleaned_session_can_be_connected_again(
    stored: Callable[[], Actor], control: SandboxControl, database: Database, cleaner: RetentionWorker
) -> None:
    gone, kept = stored(), stored()
    session = fleet_session.get(kept)
    assert session is not None
    insert_message(database, kept, session.id, ago(days=1))
    run_cleanup(cleaner)
    for actor in (gone, kept):
        assert commands.connect(actor).status is Status.PAIRING
        assert _on_server(control, name_of(actor))["stored"]


def test_a_server_that_is_down_postpones_its_sessions(
    stored: Callable[[], Actor],
    control: SandboxControl,
    database: Database,
    cleaner: RetentionWorker,
    new_actor: Callable[..., Actor],
) -> None:
    people = [stored() for _ in range(2)]
    serverless = new_actor()
    insert_ended_session(database, serverless, ago(days=8))
    control.fault("server_down")
    done = run_cleanup(cleaner)
    assert (done.counts, done.postponed, done.state) == ({ExpiredKind.SESSIONS: 1}, 2, RunState.FINISHED)
    for actor in people:
        assert fleet_session.get(actor) is not None
        assert _on_server(control, name_of(actor))["stored"]
    assert database.one("select count(*) from whatsapp_sessions where retention_lease_until is not null") == 0
    control.clear_faults()
    assert run_cleanup(cleaner).counts == {ExpiredKind.SESSIONS: 2}


def test_a_server_that_is_configured_no_longer_holds_nobody_up(
    server: SandboxServer, database: Database, cleaner: RetentionWorker, user: Actor
) -> None:
    insert_ended_session(database, user, ago(days=8), DEAD_SERVER)
    done = run_cleanup(cleaner)
    assert (done.counts, done.postponed) == ({ExpiredKind.SESSIONS: 1}, 0)
    assert fleet_session.get(user) is None


def test_a_session_that_came_back_after_the_preview_stays_with_its_data(
    stored: Callable[[], Actor], control: SandboxControl, cleaner: RetentionWorker
) -> None:
    actor = stored()
    assert count_expired() == {ExpiredKind.SESSIONS: 1}
    asked = retention.request_run(SYSTEM)
    commands.connect(actor)
    while cleaner.step():
        pass
    assert retention.get_run(SYSTEM, asked.id).gone == 0
    found = fleet_session.get(actor)
    assert found is not None
    assert found.status is Status.PAIRING
    assert _on_server(control, name_of(actor))["stored"]


def test_a_session_that_the_server_brought_back_stays_with_its_data_and_is_asked_about(
    stored: Callable[[], Actor],
    server: SandboxServer,
    control: SandboxControl,
    database: Database,
    cleaner: RetentionWorker,
) -> None:
    """A server that restarts starts every stored session, and the webhook that says so may be lost."""
    actor = stored()
    get_client().start_session(server.url, name_of(actor), "http://127.0.0.1:9")
    wait_for(lambda: get_client().status_session(server.url, name_of(actor)).status == "CONNECTED", what="the restart")
    assert run_cleanup(cleaner).counts == {}
    assert _on_server(control, name_of(actor))["stored"]
    assert database.one("select check_at <= now() and retention_lease_until is null from whatsapp_sessions")
    checks.run_due_checks()
    found = fleet_session.get(actor)
    assert found is not None
    assert found.status is Status.CONNECTED


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch, control: SandboxControl) -> Callable[..., None]:
    """The server keeps the order to clear to itself, and we wait a second for it instead of fifteen."""

    def start(**options: Any) -> None:
        monkeypatch.setattr(get_client(), "_timeouts", get_client()._timeouts.__class__(logout=1.0))
        control.fault("clear_hangs", **options)

    return start


def test_no_start_begins_while_the_server_is_told_to_clear(
    stored: Callable[[], Actor],
    hanging: Callable[..., None],
    control: SandboxControl,
    database: Database,
    cleaner: RetentionWorker,
) -> None:
    actor = stored()
    hanging(cleared=False)
    retention.request_run(SYSTEM)
    working = threading.Thread(target=cleaner.step)
    working.start()
    wait_for(lambda: database.one("select count(*) from whatsapp_sessions where retention_lease_until is not null"))
    with pytest.raises(SessionBeingCleaned):
        commands.connect(actor)
    working.join()
    # Whether the order was carried out is unknown: the session is not deleted half, and the lease still holds.
    found = fleet_session.get(actor)
    assert found is not None
    with pytest.raises(SessionBeingCleaned):
        commands.connect(actor)
    assert cleaner.step()
    assert retention.list_runs(SYSTEM)[0].postponed == 1
    control.clear_faults()
    database.execute("update whatsapp_sessions set retention_lease_until = now()")
    assert commands.connect(actor).status is Status.PAIRING


def test_what_moved_during_the_call_survives_it(
    stored: Callable[[], Actor], database: Database, cleaner: RetentionWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that goes through `connect` can; but a webhook may say that the session is up."""
    moved, wrote_to, notify = stored(), stored(), stored()
    sessions_of = {one: fleet_session.get(one) for one in (moved, wrote_to, notify)}
    clear = get_client().clear_session_data

    def clear_while_things_happen(server_url: str, name: str) -> None:
        clear(server_url, name)
        if name == name_of(moved):
            database.execute(
                "update whatsapp_sessions set status = 'conectado', updated_at = now() where session_id = %s", name
            )
        if name == name_of(wrote_to):
            session = sessions_of[wrote_to]
            assert session is not None
            insert_message(database, wrote_to, session.id, ago(days=0))
        if name == name_of(notify):
            database.execute("update whatsapp_sessions set check_at = now() where session_id = %s", name)

    monkeypatch.setattr(get_client(), "clear_session_data", clear_while_things_happen)
    run_cleanup(cleaner)
    left = dict(database.execute("select user_id, status from whatsapp_sessions"))
    assert left == {moved.user_id: "conectado", wrote_to.user_id: "desconectado", notify.user_id: "desconectado"}
    assert database.one("select count(*) from messages") == 1
    assert database.one("select count(*) from whatsapp_sessions where retention_lease_until is not null") == 0


def test_a_hanging_server_does_not_hold_the_run_for_long(
    stored: Callable[[], Actor], hanging: Callable[..., None], cleaner: RetentionWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_purge, "MAX_UNKNOWN_OUTCOMES", 1)
    people = [stored() for _ in range(3)]
    hanging()
    done = run_cleanup(cleaner)
    assert (done.state, done.postponed) == (RunState.FINISHED, 3)
    assert all(fleet_session.get(one) for one in people)


def test_a_lease_ends_by_itself_where_the_cleaner_died(
    stored: Callable[[], Actor], database: Database, cleaner: RetentionWorker
) -> None:
    actor = stored()
    database.execute("update whatsapp_sessions set retention_lease_until = now() + interval '1 minute'")
    assert run_cleanup(cleaner).postponed == 1
    database.execute("update whatsapp_sessions set retention_lease_until = now() - interval '1 second'")
    assert run_cleanup(cleaner).counts == {ExpiredKind.SESSIONS: 1}
    assert fleet_session.get(actor) is None
