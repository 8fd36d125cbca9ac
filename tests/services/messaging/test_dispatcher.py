"""The send lanes: one message at a time, in order, paced, by one worker at a time."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from services.db.actor import Actor
from services.messaging import delivery, outbox
from services.messaging import dispatcher as dispatch
from services.messaging.claims import Outcome
from services.messaging.dispatcher import Claimed
from services.messaging.lanes import LEASE, OUT_OF_REACH, next_due_in
from services.messaging.pace import Pace
from services.messaging.state import State
from tests.support.databases import Database
from tests.support.sessions import connected
from tests.support.waiting import wait_for

PHONE = "11 91234-5678"
NO_PACE = Pace(0)
SENT = Outcome(State.ACCEPTED)


def queue(actor: Actor, *texts: str, run_at: datetime | None = None) -> None:
    for text in texts:
        outbox.queue(actor, PHONE, text, text, run_at=run_at)


def claim(limit: int = 10, lease: timedelta = LEASE) -> list[Claimed]:
    return delivery.claim_lanes(limit, lease)[0]


def states(actor: Actor) -> list[State]:
    return [message.state for message in reversed(outbox.list_recent(actor))]


def test_it_serves_a_lane_in_order_and_one_at_a_time(user: Actor, database: Database) -> None:
    connected(database, user)
    queue(user, "first", "second", "third")
    served = []
    while claimed := claim():
        assert claim() == [], "a lane that is leased is nobody else's"
        (one,) = claimed
        served.append(one.body)
        delivery.finish(one, SENT, NO_PACE)
    assert served == ["first", "second", "third"]


def test_it_serves_many_lanes_at_once(database: Database, new_actor: Callable[..., Actor]) -> None:
    actors = [new_actor() for _ in range(5)]
    for actor in actors:
        connected(database, actor)
        queue(actor, "one", "two")
    assert sorted(one.body for one in claim(10)) == ["one"] * 5


def test_it_sends_nothing_into_a_session_out_of_whatsapp_s_reach(user: Actor, database: Database) -> None:
    session_id = connected(database, user)
    queue(user, "waits")
    database.execute(
        "insert into incidents (session_id, user_id, kind) values (%s, %s, 'zombie')", session_id, user.user_id
    )
    assert claim() == []
    assert states(user) == [State.QUEUED]
    assert 0 < (next_due_in() or 0) <= OUT_OF_REACH.total_seconds(), "it is looked at again, not spun on"
    database.execute("update incidents set state = 'healed', ended_at = now()")
    database.execute("update lanes set available_at = now()")
    assert [one.body for one in claim()] == ["waits"]


def test_it_keeps_the_pace_with_jitter(user: Actor, database: Database) -> None:
    connected(database, user)
    queue(user, "first", "second")
    (one,) = claim()
    delivery.finish(one, SENT, Pace(10))
    assert claim() == []
    wait = next_due_in()
    assert wait is not None
    assert 6.5 < wait < 16.5
    assert len({Pace(10).gap() for _ in range(5)}) == 5


def test_what_ends_during_a_turn_has_a_turn_of_its_own(
    database: Database, new_actor: Callable[..., Actor], monkeypatch: pytest.MonkeyPatch
) -> None:
    owners = {body: new_actor() for body in ("first", "second")}
    for body, owner in owners.items():
        connected(database, owner)
        queue(owner, body)
    gates = {body: threading.Event() for body in owners}
    monkeypatch.setattr(dispatch, "deliver", lambda claimed: SENT if gates[claimed.body].wait(30) else None)
    dispatcher = dispatch.Dispatcher(len(gates), NO_PACE)
    assert dispatcher.step(), "both are under way"
    gates["first"].set()
    wait_for(lambda: len(dispatcher._ended) == 1)
    turn = delivery.take_turn

    def slow(*args: Any) -> tuple[list[Claimed], int]:
        gates["second"].set()
        wait_for(lambda: len(dispatcher._ended) == 2)
        return turn(*args)

    with monkeypatch.context() as patch:
        patch.setattr(dispatch, "take_turn", slow)
        assert dispatcher.step(), "nobody rings for the second any more"
    assert states(owners["second"]) == [State.QUEUED], "not written down yet"
    assert not dispatcher.step()
    assert [states(owner) for owner in owners.values()] == [[State.ACCEPTED]] * 2
    dispatcher.drain()


def test_a_message_for_later_holds_up_nothing(user: Actor, database: Database) -> None:
    connected(database, user)
    queue(user, "next week", run_at=datetime.now(UTC) + timedelta(days=7))
    queue(user, "now")
    (one,) = claim()
    assert one.body == "now"
    delivery.finish(one, SENT, NO_PACE)
    assert claim() == []
    wait = next_due_in()
    assert wait is not None
    assert wait > 6 * 24 * 3600


def test_nothing_is_due_where_nothing_waits(user: Actor, database: Database) -> None:
    connected(database, user)
    queue(user, "only")
    (one,) = claim()
    delivery.finish(one, SENT, NO_PACE)
    assert next_due_in() is None


def test_what_a_dead_worker_was_sending_becomes_uncertain_and_the_lane_goes_on(user: Actor, database: Database) -> None:
    connected(database, user)
    queue(user, "lost", "next")
    claim(lease=timedelta(0))
    database.execute("update messages set state = 'sending', sending_at = now() where body = 'lost'")
    (one,) = claim()
    assert one.body == "next"
    assert states(user) == [State.UNCERTAIN, State.QUEUED]


def test_what_a_dead_worker_had_not_begun_to_send_is_simply_sent(user: Actor, database: Database) -> None:
    connected(database, user)
    queue(user, "waiting")
    claim(lease=timedelta(0))
    (one,) = claim()
    assert (one.body, one.attempt) == ("waiting", 2)


def test_a_slow_worker_cannot_undo_what_a_later_one_did(user: Actor, database: Database) -> None:
    connected(database, user)
    queue(user, "twice claimed")
    (slow,) = claim(lease=timedelta(0))
    (fast,) = claim()
    delivery.finish(slow, Outcome(State.FAILED, "refused"), NO_PACE)
    assert states(user) == [State.QUEUED]
    delivery.finish(fast, SENT, NO_PACE)
    assert states(user) == [State.ACCEPTED]


def test_a_slow_worker_still_settles_what_was_called_uncertain_meanwhile(user: Actor, database: Database) -> None:
    connected(database, user)
    queue(user, "slow", "other")
    (slow,) = claim(lease=timedelta(0))
    database.execute("update messages set state = 'sending', sending_at = now() where body = 'slow'")
    (other,) = claim()
    delivery.finish(slow, Outcome(State.ACCEPTED, wpp_id="true_late"), NO_PACE)
    assert states(user) == [State.ACCEPTED, State.QUEUED]
    assert claim() == [], "the other's lease still holds"
    delivery.finish(other, SENT, NO_PACE)


def test_it_misses_no_message_that_is_queued_while_its_lane_is_freed(user: Actor, database: Database) -> None:
    connected(database, user)
    queue(user, "first")
    (one,) = claim()
    with psycopg.connect(database.url) as queueing, ThreadPoolExecutor(1) as worker:
        queueing.execute(
            "insert into messages (session_id, user_id, direction, state, phone, body, run_at)"
            " select session_id, user_id, 'out', 'queued', phone, 'second', now() from messages"
        )
        queueing.execute("update lanes set due_at = least(due_at, now())")
        freed = worker.submit(delivery.finish, one, SENT, NO_PACE)
        waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        wait_for(lambda: database.one(waits) == 1, what="the worker to wait for the lane")
        queueing.commit()
        freed.result(10)
    assert [one.body for one in claim()] == ["second"]


def test_one_outcome_that_cannot_be_stored_keeps_no_other_from_it(
    database: Database, new_actor: Callable[..., Actor]
) -> None:
    actors = [new_actor() for _ in range(3)]
    for actor in actors:
        connected(database, actor)
        queue(actor, "one")
    claimed = claim(3)
    database.execute("update messages set state = 'sending'")
    database.execute(
        "create function fail() returns trigger language plpgsql as $f$ begin raise exception 'refused'; end $f$"
    )
    database.execute(
        "create trigger fail before update on messages for each row"
        f" when (new.state = 'accepted' and new.user_id = '{actors[1].user_id}') execute function fail()"
    )
    delivery.take_turn([(one, SENT) for one in claimed], 0, NO_PACE)
    assert [states(actor) for actor in actors] == [[State.ACCEPTED], [State.SENDING], [State.ACCEPTED]]
    lanes = "select count(*) from lanes where available_at between now() and now() + interval '5 seconds'"
    assert database.one(lanes) == 1, "its lane is left for a moment, and then it is called uncertain"


def test_racing_workers_never_claim_the_same_message(database: Database, new_actor: Callable[..., Actor]) -> None:
    for _ in range(20):
        actor = new_actor()
        connected(database, actor)
        queue(actor, f"a {actor.user_id}", f"b {actor.user_id}")
    claimed: list[Claimed] = []

    def work() -> None:
        while found := claim(3):
            claimed.extend(found)
            for one in found:
                delivery.finish(one, SENT, NO_PACE)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.id for one in claimed}) == len(claimed) == 40
    for session in {one.session_id for one in claimed}:
        bodies = [one.body[0] for one in claimed if one.session_id == session]
        assert bodies == ["a", "b"]
