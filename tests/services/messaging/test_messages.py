"""Messages: queued once, delivered once, moved only by evidence."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
import structlog

from services import settings as services_settings
from services.db.actor import Actor
from services.errors import Conflict, Forbidden, InvalidInput, NotFound
from services.messaging import attachments, attempt, delivery, reconciliation, uncertain
from services.messaging import outbox as messaging_outbox
from services.messaging.attachments import Attachment
from services.messaging.content import Content, EmptyMessage, Kind, MessageTooLong
from services.messaging.errors import SessionNotConnected
from services.messaging.outbox import TooLateToCancel
from services.messaging.state import Message, State
from services.messaging.uncertain import Decision
from services.wppconnect.errors import InvalidPhone
from tests.support.attachments import store_picture
from tests.support.databases import Database
from tests.support.deliveries import DIGITS, NO_PACE, PHONE, acknowledge, get_only_message, list_sent_texts
from tests.support.recordings import moving_picture, tone
from tests.support.sandbox_control import SandboxControl
from tests.support.sessions import connected

QUOTED = f"false_{DIGITS}@c.us_3EB0AB"


def deliver_all() -> None:
    """What the worker's dispatcher does, one after the other."""
    while True:
        claimed, seen = delivery.claim_lanes(10)
        if not seen:
            return
        for one in claimed:
            delivery.finish(one, attempt.deliver(one), NO_PACE)


def settle_from_chat(database: Database) -> None:
    database.execute("update messages set reconcile_at = now() where reconcile_at is not null")
    reconciliation.reconcile()


# --- queueing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phone", "text", "error"),
    [
        (PHONE, " \n ", EmptyMessage),
        (PHONE, "x" * 4097, MessageTooLong),
        (PHONE, "a\x00b", InvalidInput),
        ("123", "Olá!", InvalidPhone),
        ("ninguém", "Olá!", InvalidPhone),
    ],
)
def test_it_queues_nothing_that_is_wrong(
    user: Actor, database: Database, phone: str, text: str, error: type[Exception]
) -> None:
    connected(database, user)
    with pytest.raises(error):
        messaging_outbox.queue(user, phone, text, "key")
    assert messaging_outbox.list_recent(user) == []


def test_it_queues_nothing_where_the_session_is_not_up(user: Actor, database: Database) -> None:
    with pytest.raises(SessionNotConnected):
        messaging_outbox.queue(user, PHONE, "Olá!", "key")
    connected(database, user)
    database.execute("update whatsapp_sessions set status = 'pareando'")
    with pytest.raises(SessionNotConnected):
        messaging_outbox.queue(user, PHONE, "Olá!", "key")


def test_it_queues_once_for_a_key(user: Actor, database: Database) -> None:
    connected(database, user)
    first = messaging_outbox.queue(user, PHONE, "Olá!", "key")
    assert messaging_outbox.queue(user, "11912345678", " Olá! ", "key").id == first.id
    with pytest.raises(Conflict):
        messaging_outbox.queue(user, PHONE, "Outra coisa", "key")
    assert get_only_message(user).state is State.QUEUED


def test_it_queues_once_for_a_key_also_at_the_same_time(user: Actor, database: Database) -> None:
    connected(database, user)
    ids: list[UUID] = []
    threads = [
        threading.Thread(target=lambda: ids.append(messaging_outbox.queue(user, PHONE, "Olá!", "key").id))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 8
    assert len(set(ids)) == 1
    assert len(messaging_outbox.list_recent(user)) == 1


# --- delivering ---------------------------------------------------------------------------------------------------


def test_it_sends_and_calls_it_sent_only_when_whatsapp_does(
    sender: Actor, control: SandboxControl, database: Database
) -> None:
    control.fault("ack_after_reply")
    messaging_outbox.queue(sender, PHONE, "Olá!", "key")
    deliver_all()
    assert get_only_message(sender).state is State.ACCEPTED
    assert list_sent_texts(control, sender) == ["Olá!"]
    ((session_id, wpp_id),) = database.execute("select session_id, wpp_id from messages")
    for ack, state in ((1, State.SENT), (2, State.DELIVERED), (3, State.READ)):
        acknowledge(session_id, wpp_id, ack)
        assert get_only_message(sender).state is state


def test_it_never_sends_to_a_number_that_is_not_on_whatsapp(sender: Actor, control: SandboxControl) -> None:
    control.number(DIGITS, exists=False)
    messaging_outbox.queue(sender, PHONE, "Olá!", "key")
    deliver_all()
    message = get_only_message(sender)
    assert (message.state, message.failure) == (State.FAILED, "not_on_whatsapp")
    assert list_sent_texts(control, sender) == []


def test_it_sends_to_the_address_that_whatsapp_uses(sender: Actor, control: SandboxControl, database: Database) -> None:
    control.number(DIGITS, exists=True, ninth_digit=True)
    control.fault("ninth_digit")
    messaging_outbox.queue(sender, PHONE, "Olá!", "key")
    deliver_all()
    assert database.one("select address from messages") == "551112345678@c.us"


@pytest.mark.parametrize(
    ("fault", "options", "state", "left"),
    [
        ("accepted_but_never_sent", {}, State.ACCEPTED, 0),
        ("error_but_delivered", {}, State.UNCERTAIN, 1),
        ("error_but_delivered", {"delivered": False}, State.UNCERTAIN, 0),
        ("secrets_in_error", {}, State.UNCERTAIN, 0),
        ("not_found_but_delivered", {}, State.UNCERTAIN, 1),
        ("refuses_strangers", {}, State.ACCEPTED, 0),
        ("refuses_strangers", {"error": True}, State.FAILED, 0),
        ("ack_before_reply", {}, State.SENT, 1),
        ("ack_after_reply", {}, State.ACCEPTED, 1),
        ("send_timeout", {}, State.UNCERTAIN, 1),
        ("send_timeout", {"delivered": False}, State.UNCERTAIN, 0),
    ],
)
def test_it_ends_in_the_state_that_is_true(
    sender: Actor, control: SandboxControl, fault: str, options: dict[str, Any], state: State, left: int
) -> None:
    control.fault(fault, times=1, **options)
    messaging_outbox.queue(sender, PHONE, "Olá!", "key")
    deliver_all()
    assert get_only_message(sender).state is state
    assert len(list_sent_texts(control, sender)) == left
    deliver_all()
    assert len(list_sent_texts(control, sender)) == left, "nothing is ever sent again by itself"


def test_it_settles_an_uncertain_message_by_reading_the_chat(
    sender: Actor, control: SandboxControl, database: Database
) -> None:
    control.fault("error_but_delivered", times=1)
    messaging_outbox.queue(sender, PHONE, "Saiu", "one")
    deliver_all()
    settle_from_chat(database)
    assert get_only_message(sender).state in (State.ACCEPTED, State.SENT, State.DELIVERED, State.READ)
    assert database.one("select wpp_id is not null from messages")


@pytest.mark.parametrize("ack_first", [True, False])
def test_it_settles_an_uncertain_message_of_a_chat_that_is_filed_under_a_lid(
    sender: Actor, control: SandboxControl, database: Database, ack_first: bool
) -> None:
    control.fault("chat_under_lid")
    control.fault("error_but_delivered", times=1)
    messaging_outbox.queue(sender, PHONE, "Saiu", "one")
    deliver_all()
    assert get_only_message(sender).state is State.UNCERTAIN
    ((session_id,),) = database.execute("select session_id from messages")
    (left,) = control.sent(f"user_{sender.user_id}")
    assert left["id"].startswith(f"true_{DIGITS}@c.us_")
    if ack_first:
        acknowledge(session_id, left["id"], 3)
    assert [one.body for one in uncertain.read_chat(sender, get_only_message(sender).id)] == ["Saiu"]
    settle_from_chat(database)
    if not ack_first:
        acknowledge(session_id, left["id"], 3)
    assert get_only_message(sender).state is State.READ
    assert database.one("select count(*) from pending_acks") == 0


def test_it_fails_a_reply_to_what_is_gone_and_sends_nothing(sender: Actor, control: SandboxControl) -> None:
    messaging_outbox.queue(sender, PHONE, Content(body="Sim!", quoted_wpp_id=QUOTED), "key")
    deliver_all()
    assert (get_only_message(sender).state, get_only_message(sender).failure) == (State.FAILED, "refused")
    assert list_sent_texts(control, sender) == []


def test_it_leaves_what_is_not_in_the_chat_to_a_person(
    sender: Actor, control: SandboxControl, database: Database
) -> None:
    messaging_outbox.queue(sender, PHONE, "Primeira", "zero")
    deliver_all()
    control.fault("error_but_delivered", times=1, delivered=False)
    messaging_outbox.queue(sender, PHONE, "Nunca saiu", "one")
    deliver_all()
    for _round in reconciliation.RECONCILE_AFTER:
        settle_from_chat(database)
    assert messaging_outbox.list_recent(sender)[0].state is State.UNCERTAIN
    assert database.one("select count(*) from messages where reconcile_at is not null") == 0
    assert list_sent_texts(control, sender) == ["Primeira"]


def test_two_uncertain_twins_are_never_settled_by_one_message(
    sender: Actor, control: SandboxControl, database: Database
) -> None:
    for number, delivered in enumerate((True, False)):
        control.fault("error_but_delivered", times=1, delivered=delivered)
        messaging_outbox.queue(sender, PHONE, "Igual", f"twin {number}")
        deliver_all()
    settle_from_chat(database)
    settle_from_chat(database)
    states = [message.state for message in messaging_outbox.list_recent(sender)]
    assert states.count(State.UNCERTAIN) == 1


# --- kinds --------------------------------------------------------------------------------------------------------


def every_kind(actor: Actor) -> list[Content]:
    file = attachments.prepare(Kind.DOCUMENT, b"%PDF-1.7", "nota.pdf")
    sound = attachments.prepare(Kind.VOICE, tone("ogg", "libopus", 48_000, "mono", 1), "x.ogg")
    image = store_picture(actor)
    return [
        image,
        replace(image, kind=Kind.STICKER, body=""),
        replace(image, kind=Kind.VIDEO, filename="filme.mp4"),
        replace(image, kind=Kind.AUDIO, body=""),
        attachments.store_attachment(actor, sound),
        attachments.store_attachment(actor, file, "a nota"),
        Content(kind=Kind.LOCATION, detail={"lat": -23.5, "lng": -46.6, "title": "Loja", "address": "Rua A"}),
        Content(kind=Kind.CONTACT, detail={"name": "Ana", "phone": "5511977776666"}),
        Content(body="Sim!", quoted_wpp_id=QUOTED),
        attachments.store_attachment(actor, Attachment(Kind.STICKER, moving_picture("WEBP"), "image/webp", "a.webp")),
    ]


def test_it_sends_every_kind_as_what_it_is(sender: Actor, control: SandboxControl, database: Database) -> None:
    control.inbound(f"user_{sender.user_id}", DIGITS, "Vem?", id=QUOTED)
    contents = every_kind(sender)
    for number, content in enumerate(contents):
        messaging_outbox.queue(sender, PHONE, content, str(number))
    deliver_all()
    assert {message.state for message in messaging_outbox.list_recent(sender)} == {State.ACCEPTED, State.SENT}
    sent = control.sent(f"user_{sender.user_id}")
    # The sandbox files an `image/jpeg` under image, whatever the console calls it.
    kinds = ["image", "sticker", "image", "image", "ptt", "document", "location", "vcard", "chat", "sticker"]
    assert [one["type"] for one in sent] == kinds
    assert [one["moves"] for one in sent if one["type"] == "sticker"] == [False, True]
    assert (sent[0]["body"], sent[0]["filename"]) == ("Olha só", "foto.jpg")
    assert sent[-2]["quoted"] == "3EB0AB"


def test_it_asks_whatsapp_once_about_a_number(sender: Actor, database: Database) -> None:
    for number in range(3):
        messaging_outbox.queue(sender, PHONE, f"texto {number}", str(number))
        deliver_all()
    assert database.one("select count(*) from number_checks") == 1
    asked = database.one(
        "select asked_at < (select min(sending_at) from messages where body = 'texto 1') from number_checks"
    )
    assert asked, "the second and third went out on the first one's answer"


def test_it_puts_off_what_the_budget_does_not_allow_to_ask_about(
    sender: Actor, control: SandboxControl, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBER_CHECKS_PER_HOUR", "0")
    services_settings.get.cache_clear()
    messaging_outbox.queue(sender, PHONE, "um número novo", "one")
    deliver_all()
    assert get_only_message(sender).state is State.QUEUED
    assert get_only_message(sender).run_at > datetime.now(UTC) + attempt.NUMBERS_LATER / 2
    assert list_sent_texts(control, sender) == []


def test_a_file_that_is_gone_fails_and_nothing_leaves(
    sender: Actor, control: SandboxControl, database: Database
) -> None:
    messaging_outbox.queue(sender, PHONE, store_picture(sender), "one")
    database.execute("delete from media")
    deliver_all()
    assert (get_only_message(sender).state, get_only_message(sender).failure) == (State.FAILED, "file_gone")
    assert list_sent_texts(control, sender) == []


# A video and a sound are a JPEG here, which the sandbox files under image.
@pytest.mark.parametrize("place", [0, 1, 4, 5, 6, 7, 8])
def test_it_finds_every_kind_again_in_the_chat(
    sender: Actor, control: SandboxControl, database: Database, place: int
) -> None:
    control.inbound(f"user_{sender.user_id}", DIGITS, "Vem?", id=QUOTED)
    content = every_kind(sender)[place]
    control.fault("error_but_delivered", times=1)
    messaging_outbox.queue(sender, PHONE, content, "one")
    deliver_all()
    assert get_only_message(sender).state is State.UNCERTAIN
    settle_from_chat(database)
    assert get_only_message(sender).state is not State.UNCERTAIN


# --- taking back, and deciding ------------------------------------------------------------------------------------


def test_it_cancels_until_the_moment_of_sending_and_says_so(sender: Actor, control: SandboxControl) -> None:
    first, second = (messaging_outbox.queue(sender, PHONE, body, body) for body in ("sai", "fica"))
    assert messaging_outbox.cancel(sender, second.id).state is State.CANCELLED
    deliver_all()
    with pytest.raises(TooLateToCancel):
        messaging_outbox.cancel(sender, first.id)
    with pytest.raises(TooLateToCancel):
        messaging_outbox.cancel(sender, second.id)
    assert list_sent_texts(control, sender) == ["sai"]


def test_what_is_cancelled_while_its_number_is_asked_about_does_not_leave(
    sender: Actor, control: SandboxControl
) -> None:
    messaging_outbox.queue(sender, PHONE, "espera", "one")
    ((claimed,), _seen) = delivery.claim_lanes(1)
    messaging_outbox.cancel(sender, claimed.id)
    assert attempt.deliver(claimed) is None
    delivery.finish(claimed, None, NO_PACE)
    assert get_only_message(sender).state is State.CANCELLED
    assert list_sent_texts(control, sender) == []


def test_nobody_cancels_or_decides_for_somebody_else(sender: Actor, new_actor: Callable[..., Actor]) -> None:
    queued = messaging_outbox.queue(sender, PHONE, "minha", "one")
    with pytest.raises(NotFound):
        messaging_outbox.cancel(new_actor(), queued.id)
    with pytest.raises(NotFound):
        uncertain.decide(new_actor(), queued.id, Decision.DROPPED)
    assert get_only_message(sender).state is State.QUEUED


@pytest.fixture
def doubt(sender: Actor, control: SandboxControl) -> Message:
    control.fault("error_but_delivered", times=1, delivered=False)
    messaging_outbox.queue(sender, PHONE, "Nunca saiu", "one")
    deliver_all()
    return get_only_message(sender)


def test_a_person_says_that_it_left(sender: Actor, doubt: Message) -> None:
    assert uncertain.decide(sender, doubt.id, Decision.LEFT).state is State.SENT
    assert uncertain.list_uncertain(sender) == []
    with pytest.raises(Conflict):
        uncertain.decide(sender, doubt.id, Decision.AGAIN)


def test_a_person_sends_it_again_once_however_often_they_press(
    sender: Actor, doubt: Message, control: SandboxControl
) -> None:
    ids = {uncertain.decide(sender, doubt.id, Decision.AGAIN).id for _ in range(3)}
    assert len(ids) == 1
    deliver_all()
    assert list_sent_texts(control, sender) == ["Nunca saiu"]
    assert messaging_outbox.get_message(sender, doubt.id).failure == "sent_again"


def test_what_was_decided_is_not_sent_again_where_nothing_is_connected(
    sender: Actor, doubt: Message, database: Database
) -> None:
    database.execute("update whatsapp_sessions set status = 'desconectado'")
    with pytest.raises(SessionNotConnected):
        uncertain.decide(sender, doubt.id, Decision.AGAIN)
    assert uncertain.list_uncertain(sender) != [], "the doubt stays until it can be ended so"


def test_staff_see_how_many_wait_and_no_more(sender: Actor, doubt: Message, staff: Actor, database: Database) -> None:
    assert uncertain.count_decisions_waiting(staff) == [], "the chat is still being read"
    database.execute("update messages set reconcile_at = null where state = 'uncertain'")
    (waiting,) = uncertain.count_decisions_waiting(staff)
    assert (waiting.user_id, waiting.count) == (sender.user_id, 1)
    with pytest.raises(Forbidden):
        uncertain.count_decisions_waiting(sender)


def test_it_shows_what_else_left_around_a_doubt(sender: Actor, doubt: Message) -> None:
    assert uncertain.read_chat(sender, doubt.id) == []
    messaging_outbox.queue(sender, PHONE, "Outra", "two")
    deliver_all()
    assert [one.body for one in uncertain.read_chat(sender, doubt.id)] == ["Outra"]


# --- the queries' plans -------------------------------------------------------------------------------------------


def test_the_hot_queries_use_their_indexes(user: Actor, database: Database) -> None:
    session_id = connected(database, user)
    database.execute(
        "insert into messages (session_id, user_id, direction, state, phone, run_at)"
        " select %s, %s, 'out', case when n %% 10 = 0 then 'queued' else 'read' end, '1', now() + n * interval '1 s'"
        " from generate_series(1, 20000) n",
        session_id,
        user.user_id,
    )
    database.execute("analyze messages")
    plans = {
        "messages_waiting": "select id from messages where session_id = %s and state = 'queued' and asked_at is null"
        " and run_at <= now() order by run_at, seq limit 1",
        "messages_in_flight": "select id from messages where session_id = %s and state = 'sending'",
    }
    for index, query in plans.items():
        assert index in str(database.execute(f"explain {query}", session_id)), index
    recent = "select id from messages where user_id = %s and direction = 'out' order by seq desc limit 30"
    assert "messages_of_user" in str(database.execute(f"explain {recent}", user.user_id))


def test_a_request_id_travels_with_the_message(user: Actor, database: Database) -> None:
    connected(database, user)
    request_id = uuid4().hex
    with structlog.contextvars.bound_contextvars(request_id=request_id):
        messaging_outbox.queue(user, PHONE, "Olá!", "key")
    (claimed,), _seen = delivery.claim_lanes(1)
    assert claimed.request_id == request_id
