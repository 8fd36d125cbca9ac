"""What certainly did not leave waits: for its server, its session, and in the end for its owner's word."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import text

from sandbox.server import SandboxServer
from services import settings
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.fleet import checks, session
from services.fleet.session import Status
from services.messaging import delivery, lanes
from services.messaging import outbox as messaging_outbox
from services.messaging import overdue as messaging_overdue
from services.messaging.attempt import QUESTIONS_IN_A_ROW
from services.messaging.claims import Outcome
from services.messaging.dispatcher import Claimed
from services.messaging.state import State, WaitReason
from tests.support.attachments import store_picture
from tests.support.databases import Database
from tests.support.deliveries import (
    AWAY,
    NO_PACE,
    PHONE,
    SENT,
    bring_back,
    claim,
    deliver_all,
    list_sent_texts,
    list_states,
    list_wait_reasons,
    queue_texts,
    set_status,
    try_again,
)
from tests.support.process_state import forget_process_state
from tests.support.sandbox_control import SandboxControl
from tests.support.sessions import connected
from tests.support.waiting import wait_for

DAY = timedelta(hours=24)


# --- for its server ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [False, True], ids=["number not asked about yet", "number known"])
def test_it_waits_for_a_server_that_is_away_and_then_leaves_once_and_in_order(
    sender: Actor, server: SandboxServer, control: SandboxControl, database: Database, known: bool
) -> None:
    if known:
        queue_texts(sender, "antes")
        deliver_all()
    server.stop()
    queue_texts(sender, "um", "dois", "três")
    for _ in range(12):
        try_again(database)
    assert list_states(sender)[-3:] == [State.QUEUED] * 3
    assert list_wait_reasons(sender)[-3:] == [WaitReason.SERVER] * 3
    since = [one.waiting.since for one in messaging_outbox.list_recent(sender, 3) if one.waiting]
    assert all(datetime.now(UTC) - timedelta(minutes=1) < one < datetime.now(UTC) for one in since)
    wait = lanes.next_due_in()
    assert wait is not None
    assert 0 < wait <= 5, "it is asked again soon, and not at once"
    bring_back(server, control, database)
    assert list_sent_texts(control, sender)[-3:] == ["um", "dois", "três"]
    assert list_wait_reasons(sender)[-3:] == [None] * 3


def test_one_lane_asks_for_all_of_a_server_and_its_answer_frees_them(
    database: Database, new_actor: Callable[..., Actor]
) -> None:
    for number in range(5):
        actor = new_actor()
        connected(database, actor, "http://127.0.0.1:9" if number < 4 else "http://127.0.0.1:10")
        queue_texts(actor, f"first {number}", f"second {number}")
    for one in claim():
        if one.server_url.endswith(":9"):
            delivery.finish(one, AWAY, NO_PACE)
    waiting = "select count(*) from lanes where waiting_reason = 'server' and retry_at > now()"
    assert database.one(waiting) == 4
    for _ in range(8):
        database.execute("update lanes set retry_at = now() where retry_at < now() + interval '10 seconds'")
        (asking,) = claim()
        delivery.finish(asking, AWAY, NO_PACE)
    database.execute("update lanes set retry_at = now() where retry_at < now() + interval '10 seconds'")
    (asking,) = claim()
    delivery.finish(asking, SENT, NO_PACE)
    assert len(claim()) == 4, "at once, whatever their back-off was"
    assert database.one(waiting) == 0


def test_a_lane_that_is_under_way_is_never_freed_by_another_ones_answer(
    database: Database, new_actor: Callable[..., Actor]
) -> None:
    actors = [new_actor(), new_actor()]
    for actor in actors:
        connected(database, actor)
        queue_texts(actor, "one", "two")
    first, second = claim()
    delivery.finish(first, AWAY, NO_PACE)
    database.execute("update lanes set retry_at = now() where retry_at is not null")
    (again,) = claim()
    assert again.session_id == first.session_id
    delivery.finish(second, SENT, NO_PACE)
    assert [one.session_id for one in claim()] == [second.session_id]
    assert claim() == []


def test_the_waits_grow_up_to_a_few_seconds(user: Actor, database: Database) -> None:
    connected(database, user)
    queue_texts(user, "um")
    waits = []
    for _ in range(5):
        database.execute("update lanes set retry_at = now() where retry_at is not null")
        (one,) = claim()
        delivery.finish(one, AWAY, NO_PACE)
        waits.append(database.one("select extract(epoch from retry_at - clock_timestamp())::float from lanes"))
    assert waits == pytest.approx([1, 2, 4, 5, 5], abs=0.5)


@pytest.mark.parametrize("url", ["http://gone.example:21465", "http://127.0.0.1:9"])
def test_it_waits_for_the_team_where_the_server_is_not_set_up(
    user: Actor, server: SandboxServer, database: Database, url: str
) -> None:
    connected(database, user, url)
    queue_texts(user, "Olá!")
    deliver_all()
    assert (list_states(user), list_wait_reasons(user)) == ([State.QUEUED], [WaitReason.SETUP])


def test_it_waits_where_the_server_does_not_take_our_secret(
    sender: Actor, control: SandboxControl, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WPP_SERVER_TOKEN", "changed-by-somebody")
    forget_process_state()
    queue_texts(sender, "Olá!")
    deliver_all()
    assert (list_states(sender), list_wait_reasons(sender)) == ([State.QUEUED], [WaitReason.SETUP])


def test_a_number_that_gives_no_answer_holds_up_nobody_for_long(
    sender: Actor, control: SandboxControl, database: Database
) -> None:
    queue_texts(sender, "primeira")
    control.fault("server_down")
    for attempt in range(1, QUESTIONS_IN_A_ROW):
        try_again(database)
        assert list_wait_reasons(sender) == [WaitReason.NO_ANSWER], attempt
    control.clear_faults()
    messaging_outbox.queue(sender, "11 95555-4444", "segunda", "other")
    control.fault("server_down", times=1)
    try_again(database)
    assert list_sent_texts(control, sender) == ["segunda"]
    assert list_wait_reasons(sender) == [WaitReason.NUMBERS, None]


# --- for its session --------------------------------------------------------------------------------------------------


def test_it_is_not_tried_while_its_session_is_down_and_leaves_as_soon_as_it_is_up(
    sender: Actor, control: SandboxControl, database: Database
) -> None:
    queue_texts(sender, "um", "dois")
    set_status(database, Status.DISCONNECTED)
    attempts = "select sum(attempts) from messages"
    for _ in range(3):
        try_again(database)
    assert lanes.next_due_in() is None, "nobody looks after it until its session is up"
    set_status(database, Status.PAIRING)
    try_again(database)
    assert (list_states(sender), list_wait_reasons(sender)) == ([State.QUEUED] * 2, [WaitReason.SESSION] * 2)
    assert database.one(attempts) == 0
    set_status(database, Status.CONNECTED)
    assert lanes.next_due_in() == 0
    deliver_all()
    assert list_sent_texts(control, sender) == ["um", "dois"]


def test_a_session_that_says_no_is_asked_about_and_its_messages_wait(
    sender: Actor, control: SandboxControl, database: Database
) -> None:
    queue_texts(sender, "um", "dois")
    control.kill(f"user_{sender.user_id}", page_gone=True)
    for _ in range(8):
        try_again(database)
    assert (list_states(sender), list_wait_reasons(sender)) == ([State.QUEUED] * 2, [WaitReason.SESSION] * 2)
    assert 0 < (lanes.next_due_in() or 0) <= 5
    assert checks.run_due_checks() == 1
    found = session.get(sender)
    assert found is not None
    assert found.status is Status.DISCONNECTED
    calls = database.one("select sum(attempts) from messages")
    try_again(database)
    assert database.one("select sum(attempts) from messages") == calls
    assert list_wait_reasons(sender) == [WaitReason.SESSION] * 2


@pytest.mark.parametrize("outcome", [SENT, AWAY, None, Outcome(State.UNCERTAIN, "unknown")])
def test_whatever_ends_after_the_fall_leaves_the_lane_held(
    user: Actor, database: Database, outcome: Outcome | None
) -> None:
    connected(database, user)
    queue_texts(user, "um", "dois")
    (one,) = claim()
    set_status(database, Status.DISCONNECTED)
    delivery.finish(one, outcome, NO_PACE)
    try_again(database)
    assert claim() == []
    assert list_wait_reasons(user)[-1] is WaitReason.SESSION
    set_status(database, Status.CONNECTED)
    database.execute("update lanes set available_at = now()")
    assert len(claim()) == 1


def test_a_lane_that_begins_while_its_session_pairs_is_held(user: Actor, database: Database) -> None:
    session_id = connected(database, user)
    database.execute("delete from lanes")
    set_status(database, Status.PAIRING)
    database.execute("insert into lanes (session_id, due_at) values (%s, now())", session_id)
    assert database.one("select ready_at is null and waiting_reason = 'session' from lanes")
    set_status(database, Status.CONNECTED)
    assert database.one("select ready_at is not null and waiting_reason is null from lanes")


def test_the_worker_is_woken_and_the_pages_are_told(user: Actor, database: Database) -> None:
    connected(database, user)
    queue_texts(user, "um")
    with psycopg.connect(database.url, autocommit=True) as listening:
        listening.execute("listen lanes; listen live")
        set_status(database, Status.DISCONNECTED)
        set_status(database, Status.CONNECTED)
        heard = {(note.channel, note.payload) for note in listening.notifies(timeout=1)}
    assert {("lanes", ""), ("live", f"message:{user.user_id}"), ("live", f"campaign:{user.user_id}")} <= heard


def test_it_waits_for_the_store_of_files(sender: Actor, control: SandboxControl, database: Database) -> None:
    messaging_outbox.queue(sender, PHONE, store_picture(sender), "picture")
    queue_texts(sender, "depois")
    store = Path(settings.get().storage.data_dir) / "media"
    aside = store.rename(store.with_name("media-away"))
    store.write_text("no folder any more")
    for _ in range(3):
        try_again(database)
    assert (list_states(sender), list_wait_reasons(sender)) == ([State.QUEUED] * 2, [WaitReason.FILES] * 2)
    store.unlink()
    aside.rename(store)
    try_again(database)
    assert [one["type"] for one in control.sent(f"user_{sender.user_id}")] == ["image", "chat"]


# --- beside each other ------------------------------------------------------------------------------------------------


def test_what_was_taken_back_before_its_first_turn_stops_nobody(
    database: Database, new_actor: Callable[..., Actor]
) -> None:
    actors = [new_actor(), new_actor()]
    for actor in actors:
        connected(database, actor)
        queue_texts(actor, str(actor.user_id))
    messaging_outbox.cancel(actors[0], messaging_outbox.list_recent(actors[0])[0].id)
    assert [one.user_id for one in claim()] == [actors[1].user_id]


@pytest.mark.parametrize("mine", ["cancelled", "asked"])
def test_what_is_being_taken_back_while_it_is_claimed_does_not_leave(
    user: Actor, database: Database, mine: str
) -> None:
    connected(database, user)
    queue_texts(user, "um", "dois")
    change = "state = 'cancelled'" if mine == "cancelled" else "asked_at = now()"
    claimed: list[Claimed] = []
    with psycopg.connect(database.url) as taking_back:
        taking_back.execute(f"update messages set {change} where body = 'um'")
        worker = threading.Thread(target=lambda: claimed.extend(claim()))
        worker.start()
        waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        wait_for(lambda: database.one(waits) == 1, what="the worker to wait for the message")
        taking_back.commit()
        worker.join(10)
    assert claimed == []
    assert [one.body for one in claim()] == ["dois"], "and its lane is not held up"


class Lane:
    """One session, its server and its worker, any of which may be away; `left` is what was sent."""

    def __init__(self, database: Database, user: Actor) -> None:
        self._database, self._user = database, user
        self.told: list[str] = []
        self.left: list[str] = []
        self._away = self._down = False
        database.execute("delete from messages")
        database.execute("update lanes set due_at = null, available_at = now()")
        self.rise()

    def queue(self) -> None:
        if not self._down:
            self.told.append(str(len(self.told)))
            messaging_outbox.queue(self._user, PHONE, self.told[-1], uuid4().hex)

    def serve(self) -> None:
        self._database.execute("update lanes set retry_at = now() where retry_at < 'infinity'")
        for one in claim():
            assert not self._down, "a session that is down is not called"
            if not self._away:
                self.left.append(one.body)
            delivery.finish(one, AWAY if self._away else SENT, NO_PACE)

    def away(self) -> None:
        self._away = True

    def back(self) -> None:
        self._away = False

    def fall(self) -> None:
        self._down = True
        set_status(self._database, Status.DISCONNECTED)

    def rise(self) -> None:
        self._down = False
        set_status(self._database, Status.CONNECTED)

    def die(self) -> None:
        """A worker that had not begun to send: its lease ends."""
        claim()
        self._database.execute("update lanes set available_at = now()")


STEPS = (Lane.queue, Lane.serve, Lane.serve, Lane.away, Lane.back, Lane.fall, Lane.rise, Lane.die)


@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(STEPS), max_size=40))
def test_nothing_is_failed_that_only_waited_nor_sent_twice_nor_out_of_order(
    database: Database, user: Actor, steps: list[Callable[[Lane], None]]
) -> None:
    if session.get(user) is None:
        connected(database, user)
    lane = Lane(database, user)
    for step in [*steps, Lane.back, Lane.rise]:
        step(lane)
    for _ in lane.told:
        lane.serve()
    assert lane.left == lane.told
    assert set(list_states(user)) <= {State.ACCEPTED}


def test_what_waited_too_long_keeps_neither_its_lane_busy_nor_others_from_leaving(
    overdue: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    bring_back(server, control, database)
    assert list_sent_texts(control, overdue) == ["nova"]
    assert lanes.next_due_in() is None, "although nobody was asked yet"


@pytest.mark.parametrize("waits", [False, True])
def test_a_pick_reads_little_while_thousands_wait(user: Actor, database: Database, waits: bool) -> None:
    session_id = connected(database, user)
    database.execute(
        "insert into messages (session_id, user_id, direction, state, phone, run_at, waiting_since)"
        " select %s, %s, 'out', 'queued', '5511912345678', now() - interval '1 hour', now() - interval '1 hour'"
        " from generate_series(1, 5000)",
        session_id,
        user.user_id,
    )
    database.execute("update lanes set due_at = now() - interval '1 hour'; analyze messages; analyze lanes")
    if waits:
        database.execute("update lanes set waiting_reason = 'server', waiting_since = now()")
    values = {"ids": [session_id], "lease": lanes.LEASE, "soon": DAY, "patience": DAY}
    with transaction(SYSTEM) as tx:
        (plan,) = tx.execute(text(f"explain (analyze, format json) {delivery._CLAIM.text}"), values).scalar_one()
    assert _rows_read(plan["Plan"]) < 50, plan


def test_asking_owners_reads_little_while_thousands_wait(user: Actor, database: Database) -> None:
    session_id = connected(database, user)
    database.execute(
        "insert into messages (session_id, user_id, direction, state, phone, run_at, waiting_since)"
        " select %s, %s, 'out', 'queued', '5511912345678', now() - n * interval '1 second', case when n %% 2 = 0"
        " then now() - n * interval '1 second' end from generate_series(1, 20000) n",
        session_id,
        user.user_id,
    )
    database.execute("update lanes set waiting_reason = 'server', waiting_since = now() - interval '20 hours'")
    database.execute("analyze messages; analyze lanes")
    with transaction(SYSTEM) as tx:
        (plan,) = tx.execute(
            text(f"explain (analyze, format json) {messaging_overdue._ASK_OWNERS.text}"), {"patience": DAY}
        ).scalar_one()
    assert _rows_read(plan["Plan"]) < 50, plan


def _rows_read(node: dict[str, Any]) -> int:
    own = node.get("Actual Rows", 0) + node.get("Rows Removed by Filter", 0)
    return int(own) * int(node.get("Actual Loops", 1)) + sum(_rows_read(child) for child in node.get("Plans", ()))
