"""Restarting many sessions: a few at a time, paused at once, and each seen to come back."""

from collections.abc import Callable

import pytest

from sandbox.server import SandboxServer
from services.db.actor import Actor
from services.errors import Forbidden, NotFound
from services.fleet import checks, rolling_restart, timeline
from services.fleet.rolling_restart import NothingToRestart, RollingRestart, RollingRestartUnderWay
from services.fleet.session import Status
from tests.support.databases import Database
from tests.support.process_state import forget_process_state
from tests.support.sandbox_control import SandboxControl
from tests.support.sessions import connected, own_session, pair_by_asking
from tests.support.waiting import wait_for


@pytest.fixture(autouse=True)
def two_at_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALTH_HEALS_PER_SERVER", "2")
    forget_process_state()


def now(actor: Actor) -> RollingRestart:
    found = rolling_restart.get_newest(actor)
    assert found is not None
    return found


def test_it_restarts_them_and_sees_them_back(
    new_actor: Callable[..., Actor], staff: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    people = [new_actor() for _ in range(3)]
    for person in people:
        pair_by_asking(person, control, database)
    started = [own_session(person).pairing_started_at for person in people]
    assert rolling_restart.start(staff).total == 3

    def look() -> bool:
        rolling_restart.restart_next()
        assert now(staff).under_way <= 2
        database.execute("update whatsapp_sessions set check_at = now() where check_at is not null")
        checks.run_due_checks()
        return now(staff).ended_at is not None

    wait_for(look)
    assert (now(staff).done, now(staff).failed, now(staff).fraction) == (3, 0, 1.0)
    assert all(own_session(person).status is Status.CONNECTED for person in people)
    assert all(own_session(person).pairing_started_at != before for person, before in zip(people, started, strict=True))
    assert "step.wave" in [entry.what for entry in timeline.list_entries(staff, people[0].user_id).entries]  # type: ignore[arg-type]


def test_it_claims_nothing_while_it_is_held(staff: Actor, new_actor: Callable[..., Actor], database: Database) -> None:
    for _ in range(3):
        connected(database, new_actor())
    wave = rolling_restart.start(staff)
    assert rolling_restart.pause(staff, wave.id, on=True).paused
    assert rolling_restart.restart_next() == 0
    rolling_restart.pause(staff, wave.id, on=False)
    assert rolling_restart.restart_next() == 2
    assert now(staff).failed == 2, "nobody listens at their server"


def test_it_leaves_out_what_ended_meanwhile(staff: Actor, user: Actor, database: Database) -> None:
    connected(database, user)
    rolling_restart.start(staff)
    database.execute("update whatsapp_sessions set status = 'desconectado'")
    rolling_restart.restart_next()
    rolling_restart.restart_next()
    assert (now(staff).done, now(staff).ended_at is not None) == (1, True)
    assert timeline.list_entries(staff, user.user_id).entries[0].what == "desconectado"  # type: ignore[arg-type]


def test_it_gives_up_on_what_does_not_come_back(staff: Actor, user: Actor, database: Database) -> None:
    connected(database, user)
    rolling_restart.start(staff)
    database.execute(
        "update rolling_restart_items set state = 'under_way', started_at = clock_timestamp() - interval '61 seconds'"
    )
    rolling_restart.restart_next()
    rolling_restart.restart_next()
    assert (now(staff).failed, now(staff).ended_at is not None) == (1, True)


def test_it_is_one_at_a_time_and_can_be_cancelled(staff: Actor, user: Actor, database: Database) -> None:
    connected(database, user)
    wave = rolling_restart.start(staff)
    with pytest.raises(RollingRestartUnderWay):
        rolling_restart.start(staff)
    assert rolling_restart.cancel(staff, wave.id).cancelled
    assert rolling_restart.restart_next() == 0
    with pytest.raises(NotFound):
        rolling_restart.pause(staff, wave.id, on=True)
    assert rolling_restart.start(staff).total == 1
    actions = database.execute("select action from audit_log order by id")
    assert actions == [("fleet.restart",), ("fleet.restart_cancelled",), ("fleet.restart",)]


def test_it_begins_nothing_where_nothing_is_connected(staff: Actor) -> None:
    with pytest.raises(NothingToRestart):
        rolling_restart.start(staff)
    assert rolling_restart.get_newest(staff) is None


def test_it_is_closed_to_users(user: Actor, database: Database) -> None:
    connected(database, user)
    with pytest.raises(Forbidden):
        rolling_restart.start(user)
    assert rolling_restart.get_newest(user) is None
