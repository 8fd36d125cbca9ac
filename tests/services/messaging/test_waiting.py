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
from sqlalchemy.exc import ProgrammingError

from sandbox.server import SandboxServer
from services import settings
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.fleet import checks, session
from services.fleet.session import Status
from services.messaging import delivery, lanes
from services.messaging import outbox as messaging_outbox
from services.messaging import overdue as messaging_overdue
from services.messaging.attempt import QUESTIONS_IN_A_ROW, deliver
from services.messaging.claims import Outcome
from services.messaging.dispatcher import Claimed
from services.messaging.overdue import OverdueChoice
from services.messaging.state import State, WaitReason
from tests.conftest import Database, connected, forget_process_state
from tests.services.messaging.test_messages import picture
from tests.support.installation import SandboxControl, wait_for

PHONE, DIGITS = "(11) 91234-5678", "5511912345678"
NO_PACE = lanes.Pace(0)
SENT = Outcome(State.ACCEPTED, answered=True)
AWAY = Outcome(State.QUEUED, waiting=WaitReason.SERVER)
DAY = timedelta(hours=24)


def queue(actor: Actor, *texts: str, run_at: datetime | None = None) -> None:
    for body in texts:
        messaging_outbox.queue(actor, PHONE, body, body, run_at=run_at)


def claim(limit: int = 10) -> list[Claimed]:
    return delivery.claim_lanes(limit)[0]


def deliver_all() -> None:
    """What the worker does until no lane has its turn."""
    while claimed := claim():
        for one in claimed:
            delivery.finish(one, deliver(one), NO_PACE)


def try_again(database: Database) -> None:
    """The back-off is over."""
    database.execute("update lanes set retry_at = now() where retry_at < 'infinity'")
    deliver_all()


def back(server: SandboxServer, control: SandboxControl, database: Database) -> None:
    """The server is back, with its sessions."""
    server.start()
    wait_for(lambda: all(one["status"] == "CONNECTED" for one in control.state()["sessions"]))
    try_again(database)


def hours_pass(database: Database, hours: float) -> None:
    """Everything that waits does so for this much longer."""
    for column in ("run_at", "waiting_since", "created_at"):
        database.execute(f"update messages set {column} = {column} - make_interval(secs => %s)", hours * 3600)
    for column in ("waiting_since", "due_at"):
        # A new moment, not an end: what is remembered when a lane stops waiting is another test's subject.
        database.execute(f"update lanes set {column} = {column} - make_interval(secs => %s)", hours * 3600)


def move(database: Database, status: Status) -> None:
    database.execute("update whatsapp_sessions set status = %s", status)


def states(actor: Actor) -> list[State]:
    return [message.state for message in reversed(messaging_outbox.list_recent(actor))]


def reasons(actor: Actor) -> list[WaitReason | None]:
    return [
        message.waiting.reason if message.waiting else None for message in reversed(messaging_outbox.list_recent(actor))
    ]


def outbox(control: SandboxControl, actor: Actor) -> list[str]:
    return [one["body"] for one in control.sent(f"user_{actor.user_id}")]


# --- for its server ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [False, True], ids=["number not asked about yet", "number known"])
def test_it_waits_for_a_server_that_is_away_and_then_leaves_once_and_in_order(
    sender: Actor, server: SandboxServer, control: SandboxControl, database: Database, known: bool
) -> None:
    if known:
        queue(sender, "antes")
        deliver_all()
    server.stop()
    queue(sender, "um", "dois", "três")
    for _ in range(12):
        try_again(database)
    assert states(sender)[-3:] == [State.QUEUED] * 3
    assert reasons(sender)[-3:] == [WaitReason.SERVER] * 3
    since = [one.waiting.since for one in messaging_outbox.list_recent(sender, 3) if one.waiting]
    assert all(datetime.now(UTC) - timedelta(minutes=1) < one < datetime.now(UTC) for one in since)
    wait = lanes.next_due_in()
    assert wait is not None
    assert 0 < wait <= 5, "it is asked again soon, and not at once"
    back(server, control, database)
    assert outbox(control, sender)[-3:] == ["um", "dois", "três"]
    assert reasons(sender)[-3:] == [None] * 3


def test_one_lane_asks_for_all_of_a_server_and_its_answer_frees_them(
    database: Database, new_actor: Callable[..., Actor]
) -> None:
    for number in range(5):
        actor = new_actor()
        connected(database, actor, "http://127.0.0.1:9" if number < 4 else "http://127.0.0.1:10")
        queue(actor, f"first {number}", f"second {number}")
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
        queue(actor, "one", "two")
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
    queue(user, "um")
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
    queue(user, "Olá!")
    deliver_all()
    assert (states(user), reasons(user)) == ([State.QUEUED], [WaitReason.SETUP])


def test_it_waits_where_the_server_does_not_take_our_secret(
    sender: Actor, control: SandboxControl, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WPP_SERVER_TOKEN", "changed-by-somebody")
    forget_process_state()
    queue(sender, "Olá!")
    deliver_all()
    assert (states(sender), reasons(sender)) == ([State.QUEUED], [WaitReason.SETUP])


def test_a_number_that_gives_no_answer_holds_up_nobody_for_long(
    sender: Actor, control: SandboxControl, database: Database
) -> None:
    queue(sender, "primeira")
    control.fault("server_down")
    for attempt in range(1, QUESTIONS_IN_A_ROW):
        try_again(database)
        assert reasons(sender) == [WaitReason.NO_ANSWER], attempt
    control.clear_faults()
    messaging_outbox.queue(sender, "11 95555-4444", "segunda", "other")
    control.fault("server_down", times=1)
    try_again(database)
    assert outbox(control, sender) == ["segunda"]
    assert reasons(sender) == [WaitReason.NUMBERS, None]


# --- for its session --------------------------------------------------------------------------------------------------


def test_it_is_not_tried_while_its_session_is_down_and_leaves_as_soon_as_it_is_up(
    sender: Actor, control: SandboxControl, database: Database
) -> None:
    queue(sender, "um", "dois")
    move(database, Status.DISCONNECTED)
    attempts = "select sum(attempts) from messages"
    for _ in range(3):
        try_again(database)
    assert lanes.next_due_in() is None, "nobody looks after it until its session is up"
    move(database, Status.PAIRING)
    try_again(database)
    assert (states(sender), reasons(sender)) == ([State.QUEUED] * 2, [WaitReason.SESSION] * 2)
    assert database.one(attempts) == 0
    move(database, Status.CONNECTED)
    assert lanes.next_due_in() == 0
    deliver_all()
    assert outbox(control, sender) == ["um", "dois"]


def test_a_session_that_says_no_is_asked_about_and_its_messages_wait(
    sender: Actor, control: SandboxControl, database: Database
) -> None:
    queue(sender, "um", "dois")
    control.kill(f"user_{sender.user_id}", page_gone=True)
    for _ in range(8):
        try_again(database)
    assert (states(sender), reasons(sender)) == ([State.QUEUED] * 2, [WaitReason.SESSION] * 2)
    assert 0 < (lanes.next_due_in() or 0) <= 5
    assert checks.run_due_checks() == 1
    found = session.get(sender)
    assert found is not None
    assert found.status is Status.DISCONNECTED
    calls = database.one("select sum(attempts) from messages")
    try_again(database)
    assert database.one("select sum(attempts) from messages") == calls
    assert reasons(sender) == [WaitReason.SESSION] * 2


@pytest.mark.parametrize("outcome", [SENT, AWAY, None, Outcome(State.UNCERTAIN, "unknown")])
def test_whatever_ends_after_the_fall_leaves_the_lane_held(
    user: Actor, database: Database, outcome: Outcome | None
) -> None:
    connected(database, user)
    queue(user, "um", "dois")
    (one,) = claim()
    move(database, Status.DISCONNECTED)
    delivery.finish(one, outcome, NO_PACE)
    try_again(database)
    assert claim() == []
    assert reasons(user)[-1] is WaitReason.SESSION
    move(database, Status.CONNECTED)
    database.execute("update lanes set available_at = now()")
    assert len(claim()) == 1


def test_a_lane_that_begins_while_its_session_pairs_is_held(user: Actor, database: Database) -> None:
    session_id = connected(database, user)
    database.execute("delete from lanes")
    move(database, Status.PAIRING)
    database.execute("insert into lanes (session_id, due_at) values (%s, now())", session_id)
    assert database.one("select ready_at is null and waiting_reason = 'session' from lanes")
    move(database, Status.CONNECTED)
    assert database.one("select ready_at is not null and waiting_reason is null from lanes")


def test_the_worker_is_woken_and_the_pages_are_told(user: Actor, database: Database) -> None:
    connected(database, user)
    queue(user, "um")
    with psycopg.connect(database.url, autocommit=True) as listening:
        listening.execute("listen lanes; listen live")
        move(database, Status.DISCONNECTED)
        move(database, Status.CONNECTED)
        heard = {(note.channel, note.payload) for note in listening.notifies(timeout=1)}
    assert {("lanes", ""), ("live", f"message:{user.user_id}"), ("live", f"campaign:{user.user_id}")} <= heard


def test_it_waits_for_the_store_of_files(sender: Actor, control: SandboxControl, database: Database) -> None:
    messaging_outbox.queue(sender, PHONE, picture(sender), "picture")
    queue(sender, "depois")
    store = Path(settings.get().data_dir) / "media"
    aside = store.rename(store.with_name("media-away"))
    store.write_text("no folder any more")
    for _ in range(3):
        try_again(database)
    assert (states(sender), reasons(sender)) == ([State.QUEUED] * 2, [WaitReason.FILES] * 2)
    store.unlink()
    aside.rename(store)
    try_again(database)
    assert [one["type"] for one in control.sent(f"user_{sender.user_id}")] == ["image", "chat"]


# --- for its owner ----------------------------------------------------------------------------------------------------


@pytest.fixture
def overdue(sender: Actor, server: SandboxServer, control: SandboxControl, database: Database) -> Actor:
    """Two messages that waited for their server for more than a day, and one that became due an hour ago."""
    server.stop()
    queue(sender, "um", "dois")
    deliver_all()
    hours_pass(database, 24)
    queue(sender, "nova")
    hours_pass(database, 1)
    return sender


def ask(database: Database) -> int:
    """What the worker does each minute."""
    asked = messaging_overdue.ask_owners()
    assert messaging_overdue.ask_owners() == 0, "once"
    return asked


def test_what_waited_too_long_never_leaves_by_itself(
    overdue: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    back(server, control, database)
    assert outbox(control, overdue) == ["nova"]
    assert ask(database) == 2
    assert reasons(overdue) == [WaitReason.OWNER, WaitReason.OWNER, None]
    for _ in range(3):
        hours_pass(database, 5)
        try_again(database)
    assert outbox(control, overdue) == ["nova"]
    assert [one.body for one in messaging_overdue.list_overdue(overdue)] == ["um", "dois"]
    assert [(one.campaign_id, one.count) for one in messaging_overdue.list_overdue_groups(overdue)] == [(None, 2)]


def test_it_leaves_when_its_owner_says_so_in_order_and_once(
    overdue: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    back(server, control, database)
    ask(database)
    assert messaging_overdue.decide_overdue(overdue, OverdueChoice.SEND) == 2
    assert messaging_overdue.decide_overdue(overdue, OverdueChoice.SEND) == 0
    deliver_all()
    assert outbox(control, overdue) == ["nova", "um", "dois"]


def test_it_is_let_go_when_its_owner_says_so(
    overdue: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    assert ask(database) == 2
    first, _second = messaging_overdue.list_overdue(overdue)
    assert messaging_overdue.decide_overdue(overdue, OverdueChoice.DISCARD, message_id=first.id) == 1
    back(server, control, database)
    assert outbox(control, overdue) == ["nova"]
    assert states(overdue)[:2] == [State.CANCELLED, State.QUEUED]
    assert messaging_outbox.cancel(overdue, messaging_overdue.list_overdue(overdue)[0].id).state is State.CANCELLED


def test_what_goes_on_may_wait_as_long_once_more(overdue: Actor, database: Database) -> None:
    messaging_overdue.ask_owners()
    assert messaging_overdue.decide_overdue(overdue, OverdueChoice.SEND) == 2
    assert messaging_overdue.ask_owners() == 0, "the server is away for a day already, they are only since now"
    hours_pass(database, 23)
    assert messaging_overdue.ask_owners() == 1, "the one that became due before"
    hours_pass(database, 2)
    assert messaging_overdue.ask_owners() == 2


def test_an_outage_in_pieces_is_as_long_as_its_pieces(
    sender: Actor, control: SandboxControl, database: Database
) -> None:
    queue(sender, *map(str, range(6)))
    for hour in range(5):
        move(database, Status.DISCONNECTED)
        hours_pass(database, 6)
        move(database, Status.CONNECTED)
        for one in claim():
            delivery.finish(one, deliver(one), NO_PACE)
        assert len(outbox(control, sender)) == min(hour + 1, 3), "after 24 hours nothing more leaves"
    assert ask(database) == 3


def test_a_session_that_is_down_for_a_day_has_its_owner_asked_meanwhile(sender: Actor, database: Database) -> None:
    queue(sender, "um")
    queue(sender, "amanhã", run_at=datetime.now(UTC) + timedelta(hours=30))
    move(database, Status.DISCONNECTED)
    hours_pass(database, 23)
    assert messaging_overdue.ask_owners() == 0
    hours_pass(database, 2)
    assert messaging_overdue.ask_owners() == 1
    assert reasons(sender) == [WaitReason.OWNER, None], "what is not due yet does not wait yet"


def test_what_only_queued_behind_others_is_nobodys_question(user: Actor, database: Database) -> None:
    connected(database, user)
    queue(user, "um", "dois")
    hours_pass(database, 100)
    assert messaging_overdue.ask_owners() == 0
    assert [one.body for one in claim()] == ["um"]


def test_one_decision_is_for_a_campaign(overdue: Actor, database: Database) -> None:
    messaging_overdue.ask_owners()
    campaign = uuid4()
    database.execute(
        "insert into campaigns (id, user_id, name, template_id, template_version, opens, closes, cap, cold_share, pace)"
        " values (%s, %s, 'Natal', gen_random_uuid(), 1, '08:00', '20:00', 1, 1, 1)",
        campaign,
        overdue.user_id,
    )
    database.execute("update messages set campaign_id = %s where body = 'dois'", campaign)
    found = [(one.campaign_id, one.campaign, one.count) for one in messaging_overdue.list_overdue_groups(overdue)]
    assert found == [(None, None, 1), (campaign, "Natal", 1)]
    assert messaging_overdue.decide_overdue(overdue, OverdueChoice.DISCARD, loose=True) == 1
    assert messaging_overdue.decide_overdue(overdue, OverdueChoice.SEND, campaign_id=campaign) == 1
    assert states(overdue)[:2] == [State.CANCELLED, State.QUEUED]


def test_nobody_else_decides(overdue: Actor, new_actor: Callable[..., Actor], staff: Actor) -> None:
    messaging_overdue.ask_owners()
    for other in (new_actor(), staff):
        assert messaging_overdue.list_overdue(other) == []
        assert messaging_overdue.decide_overdue(other, OverdueChoice.SEND) == 0
    assert len(messaging_overdue.list_overdue(overdue)) == 2


def test_what_may_have_left_never_becomes_queued_again(
    sender: Actor, control: SandboxControl, database: Database
) -> None:
    control.fault("error_but_delivered", times=1)
    queue(sender, "saiu")
    deliver_all()
    assert states(sender) == [State.UNCERTAIN]
    with pytest.raises(ProgrammingError, match="row-level security"), transaction(sender) as tx:
        tx.exec_driver_sql("update messages set state = 'queued', asked_at = null")


# --- beside each other ------------------------------------------------------------------------------------------------


def test_what_was_taken_back_before_its_first_turn_stops_nobody(
    database: Database, new_actor: Callable[..., Actor]
) -> None:
    actors = [new_actor(), new_actor()]
    for actor in actors:
        connected(database, actor)
        queue(actor, str(actor.user_id))
    messaging_outbox.cancel(actors[0], messaging_outbox.list_recent(actors[0])[0].id)
    assert [one.user_id for one in claim()] == [actors[1].user_id]


@pytest.mark.parametrize("mine", ["cancelled", "asked"])
def test_what_is_being_taken_back_while_it_is_claimed_does_not_leave(
    user: Actor, database: Database, mine: str
) -> None:
    connected(database, user)
    queue(user, "um", "dois")
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


class Stage:
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
        move(self._database, Status.DISCONNECTED)

    def rise(self) -> None:
        self._down = False
        move(self._database, Status.CONNECTED)

    def die(self) -> None:
        """A worker that had not begun to send: its lease ends."""
        claim()
        self._database.execute("update lanes set available_at = now()")


STEPS = (Stage.queue, Stage.serve, Stage.serve, Stage.away, Stage.back, Stage.fall, Stage.rise, Stage.die)


@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(STEPS), max_size=40))
def test_nothing_is_failed_that_only_waited_nor_sent_twice_nor_out_of_order(
    database: Database, user: Actor, steps: list[Callable[[Stage], None]]
) -> None:
    if session.get(user) is None:
        connected(database, user)
    stage = Stage(database, user)
    for step in [*steps, Stage.back, Stage.rise]:
        step(stage)
    for _ in stage.told:
        stage.serve()
    assert stage.left == stage.told
    assert set(states(user)) <= {State.ACCEPTED}


def test_what_waited_too_long_keeps_neither_its_lane_busy_nor_others_from_leaving(
    overdue: Actor, server: SandboxServer, control: SandboxControl, database: Database
) -> None:
    back(server, control, database)
    assert outbox(control, overdue) == ["nova"]
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
