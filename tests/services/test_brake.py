"""The kill switch: everything stops at once; what staff stopped only staff let go, on the record."""

from collections.abc import Callable

import pytest

from services import brake, dispatch, messages, timeline
from services.db.actor import Actor
from services.errors import Forbidden, NotFound, StoppedByStaff
from tests.conftest import Database, connected


@pytest.fixture
def sender(user: Actor, database: Database) -> Actor:
    connected(database, user)
    return user


def test_it_stops_what_is_queued_and_lets_it_go(sender: Actor, database: Database) -> None:
    messages.queue(sender, "11987654321", "Olá", "key")
    brake.pull(sender)
    found = brake.pulled(sender)
    assert found is not None
    assert not found.by_staff
    assert dispatch.claim(10) == ([], 0)
    assert dispatch.next_due_in() is None
    brake.let_go(sender)
    assert brake.pulled(sender) is None
    assert len(dispatch.claim(10)[0]) == 1
    assert database.execute("select action from audit_log order by id") == [("sending.stop",), ("sending.go_on",)]


def test_it_keeps_the_moment_of_the_first_pull(sender: Actor) -> None:
    brake.pull(sender)
    first = brake.pulled(sender)
    brake.pull(sender)
    assert brake.pulled(sender) == first


def test_what_staff_stopped_only_staff_let_go(sender: Actor, staff: Actor) -> None:
    brake.pull(staff, sender.user_id)
    found = brake.pulled(sender)
    assert found is not None
    assert found.by_staff
    with pytest.raises(StoppedByStaff):
        brake.let_go(sender)
    brake.let_go(staff, sender.user_id)
    assert brake.pulled(sender) is None
    assert sender.user_id is not None
    whats = [entry.what for entry in timeline.of(staff, sender.user_id).entries]
    assert whats[:2] == ["sending.go_on", "sending.stop"]


def test_staff_let_go_what_its_owner_stopped(sender: Actor, staff: Actor) -> None:
    brake.pull(sender)
    brake.let_go(staff, sender.user_id)
    assert brake.pulled(sender) is None


def test_it_is_nobody_elses(sender: Actor, new_actor: Callable[..., Actor], staff: Actor) -> None:
    other = new_actor()
    for call in (brake.pull, brake.let_go, brake.pulled):
        with pytest.raises(Forbidden):
            call(other, sender.user_id)
    with pytest.raises(NotFound):
        brake.pull(other)
    with pytest.raises(NotFound):
        brake.pull(staff, other.user_id)
    assert brake.pulled(other) is None
