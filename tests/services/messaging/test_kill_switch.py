"""The kill switch: everything stops at once; what staff stopped only staff let go, on the record."""

from collections.abc import Callable

import pytest

from services.db.actor import Actor
from services.errors import Forbidden, NotFound
from services.fleet import timeline
from services.messaging import delivery, kill_switch, lanes, outbox
from services.messaging.kill_switch import StoppedByStaff
from tests.support.databases import Database
from tests.support.sessions import connected


@pytest.fixture
def sender(user: Actor, database: Database) -> Actor:
    connected(database, user)
    return user


def test_it_stops_what_is_queued_and_lets_it_go(sender: Actor, database: Database) -> None:
    outbox.queue(sender, "11987654321", "Olá", "key")
    kill_switch.stop_sending(sender)
    found = kill_switch.get_stop(sender)
    assert found is not None
    assert not found.stopped_by_staff
    assert delivery.claim_lanes(10) == ([], 0)
    assert lanes.next_due_in() is None
    kill_switch.resume_sending(sender)
    assert kill_switch.get_stop(sender) is None
    assert len(delivery.claim_lanes(10)[0]) == 1
    assert database.execute("select action from audit_log order by id") == [("sending.stop",), ("sending.go_on",)]


def test_it_keeps_the_moment_of_the_first_pull(sender: Actor) -> None:
    kill_switch.stop_sending(sender)
    first = kill_switch.get_stop(sender)
    kill_switch.stop_sending(sender)
    assert kill_switch.get_stop(sender) == first


def test_what_staff_stopped_only_staff_let_go(sender: Actor, staff: Actor) -> None:
    kill_switch.stop_sending(staff, sender.user_id)
    found = kill_switch.get_stop(sender)
    assert found is not None
    assert found.stopped_by_staff
    with pytest.raises(StoppedByStaff):
        kill_switch.resume_sending(sender)
    kill_switch.resume_sending(staff, sender.user_id)
    assert kill_switch.get_stop(sender) is None
    assert sender.user_id is not None
    whats = [entry.what for entry in timeline.list_entries(staff, sender.user_id).entries]
    assert whats[:2] == ["sending.go_on", "sending.stop"]


def test_staff_let_go_what_its_owner_stopped(sender: Actor, staff: Actor) -> None:
    kill_switch.stop_sending(sender)
    kill_switch.resume_sending(staff, sender.user_id)
    assert kill_switch.get_stop(sender) is None


def test_it_is_nobody_elses(sender: Actor, new_actor: Callable[..., Actor], staff: Actor) -> None:
    other = new_actor()
    for call in (kill_switch.stop_sending, kill_switch.resume_sending, kill_switch.get_stop):
        with pytest.raises(Forbidden):
            call(other, sender.user_id)
    with pytest.raises(NotFound):
        kill_switch.stop_sending(other)
    with pytest.raises(NotFound):
        kill_switch.stop_sending(staff, other.user_id)
    assert kill_switch.get_stop(other) is None
