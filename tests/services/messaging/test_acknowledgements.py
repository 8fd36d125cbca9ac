"""Acknowledgements: a message's state never goes down, in whatever order they come."""

import itertools
import threading
from collections.abc import Callable
from uuid import UUID

from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from services.db.actor import Actor
from services.messaging import claims, delivery
from services.messaging import outbox as messaging_outbox
from services.messaging.state import State
from tests.support.databases import Database
from tests.support.deliveries import NO_PACE, PHONE, acknowledge, get_only_message
from tests.support.sessions import connected

WPP_ID = f"true_{PHONE}@c.us_1"


def accepted(database: Database, actor: Actor, wpp_id: str = WPP_ID) -> UUID:
    session_id = connected(database, actor)
    messaging_outbox.queue(actor, PHONE, "Olá!", "key")
    database.execute("update messages set state = 'accepted', wpp_id = %s", wpp_id)
    return session_id


@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acks=st.lists(st.integers(-7, 4), min_size=1, max_size=8))
def test_an_ack_never_goes_down(database: Database, user: Actor, acks: list[int]) -> None:
    database.execute("delete from whatsapp_sessions")
    session_id = accepted(database, user)
    rank = {State.ACCEPTED: 0, State.FAILED: 0, State.SENT: 1, State.DELIVERED: 2, State.READ: 3}
    highest = 0
    for ack in acks:
        before = rank[get_only_message(user).state]
        acknowledge(session_id, WPP_ID, ack)
        highest = max(highest, min(ack, 3))
        assert rank[get_only_message(user).state] >= before
    if highest > 0:
        assert rank[get_only_message(user).state] == highest
    elif min(acks) < 0:
        assert get_only_message(user).state is State.FAILED


def test_every_order_of_the_same_acks_ends_the_same(user: Actor, database: Database) -> None:
    ends = set()
    for order in itertools.permutations((1, 2, 3)):
        database.execute("delete from whatsapp_sessions")
        session_id = accepted(database, user)
        for ack in order:
            acknowledge(session_id, WPP_ID, ack)
        message = get_only_message(user)
        ends.add((message.state, bool(message.sent_at), bool(message.delivered_at), bool(message.read_at)))
    assert ends == {(State.READ, True, True, True)}


def test_an_ack_that_comes_before_its_message_is_kept_for_it(user: Actor, database: Database) -> None:
    session_id = connected(database, user)
    messaging_outbox.queue(user, PHONE, "Olá!", "key")
    (claimed,), _seen = delivery.claim_lanes(1)
    acknowledge(session_id, "true_early", 2)
    acknowledge(session_id, "true_early", 1)
    assert database.one("select ack from pending_acks") == 2
    delivery.finish(claimed, claims.Outcome(State.ACCEPTED, wpp_id="true_early"), NO_PACE)
    assert get_only_message(user).state is State.DELIVERED
    assert database.one("select count(*) from pending_acks") == 0


def test_an_ack_and_the_answer_that_names_it_never_miss_each_other(
    user: Actor, database: Database, new_actor: Callable[..., Actor]
) -> None:
    for number in range(15):
        actor = new_actor()
        session_id = connected(database, actor)
        messaging_outbox.queue(actor, PHONE, "Olá!", "key")
        (claimed,), _seen = delivery.claim_lanes(1)
        wpp_id = f"true_{number}"
        outcome = claims.Outcome(State.ACCEPTED, wpp_id=wpp_id)
        threads = [
            threading.Thread(target=acknowledge, args=(session_id, wpp_id, 1)),
            threading.Thread(target=delivery.finish, args=(claimed, outcome, NO_PACE)),
        ]
        for thread in threads[:: 1 if number % 2 else -1]:
            thread.start()
        for thread in threads:
            thread.join()
        assert get_only_message(actor).state is State.SENT
