"""Forwarding: signed, at least once, retried for days, and at nobody else's cost."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from standardwebhooks import WebhookVerificationError

from services.db.actor import SYSTEM, Actor, Role
from services.db.engine import transaction
from services.errors import Forbidden, NotFound
from services.integrations import webhook_delivery, webhook_endpoints
from services.integrations.webhook_delivery import RETRY_AFTER, ClaimedDelivery
from services.integrations.webhook_endpoints import DeliveryState, EventType, TooManyEndpoints, WrongEndpoint
from services.messaging import acknowledgements, outbox
from services.platform.claim_pool import ClaimPool
from services.platform.safe_http import PrivateAddress
from tests.support.databases import Database
from tests.support.process_state import forget_process_state
from tests.support.processes import free_ports
from tests.support.sessions import connected
from tests.support.waiting import wait_for
from tests.support.webhook_consumer import WebhookConsumer, running_consumer

ALL = frozenset(EventType)
Sender = ClaimPool[ClaimedDelivery]


@pytest.fixture(autouse=True)
def private_networks(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORWARD_ALLOW_PRIVATE", "true")
    forget_process_state()


@pytest.fixture
def system() -> Iterator[WebhookConsumer]:
    with running_consumer() as made:
        yield made


@pytest.fixture
def worker(database: Database) -> Iterator[Sender]:
    made = webhook_delivery.build_sender(at_once=8)
    yield made
    made.drain()


def received(database: Database, actor: Actor, body: str = "segredo do cliente") -> UUID:
    """A message came in."""
    found: UUID = database.one(
        "insert into messages (session_id, user_id, direction, state, phone, body)"
        " select id, user_id, 'in', 'received', '5511987654321', %s from whatsapp_sessions where user_id = %s"
        " returning id",
        body,
        actor.user_id,
    )
    return found


def newest(actor: Actor, endpoint_id: UUID) -> webhook_endpoints.Delivery:
    return webhook_endpoints.list_deliveries(actor, endpoint_id, limit=1)[0]


def work(worker: Sender, until: Callable[[], Any]) -> None:
    def look() -> Any:
        worker.step()
        return until()

    wait_for(look)


def settled(worker: Sender, database: Database) -> None:
    """Until nothing is due and nothing under way."""
    due = "select count(*) from webhook_deliveries d join webhook_endpoints e on e.id = d.endpoint_id"
    due += " where d.state = 'sending' or (d.state = 'waiting' and e.active"
    due += " and greatest(d.next_at, e.available_at) <= clock_timestamp())"
    work(worker, lambda: database.one(due) == 0)


def test_it_tells_the_owner_of_a_message_signed(
    user: Actor, database: Database, system: WebhookConsumer, worker: Sender
) -> None:
    connected(database, user)
    made = webhook_endpoints.create_endpoint(user, system.url, ALL)
    message_id = received(database, user)
    settled(worker, database)
    payload = system.first().verified(made.secret)
    assert (payload["type"], payload["data"]["body"]) == ("message.received", "segredo do cliente")
    assert (payload["data"]["id"], payload["data"]["phone"]) == (str(message_id), "5511987654321")
    assert datetime.fromisoformat(payload["timestamp"]).tzinfo == UTC
    with pytest.raises(WebhookVerificationError):
        system.first().verified(webhook_endpoints._new_secret())
    delivery = newest(user, made.id)
    assert (delivery.state, delivery.status, delivery.attempts) == (DeliveryState.DONE, 200, 1)


def test_it_tells_what_becomes_of_a_message_and_of_the_session(
    user: Actor, database: Database, system: WebhookConsumer, worker: Sender
) -> None:
    session_id = connected(database, user)
    made = webhook_endpoints.create_endpoint(user, system.url, frozenset({EventType.STATE, EventType.SESSION}))
    sent = outbox.queue(user, "11987654321", "oi", "the-key")
    database.execute("update messages set wpp_id = 'w', state = 'accepted'")
    for ack in (1, 2, 2, 1, 3, 4):
        with transaction(SYSTEM) as tx:
            acknowledgements.acknowledge(tx, session_id, "w", ack, datetime.now(UTC))
    received(database, user)
    database.execute("update whatsapp_sessions set status = 'desconectado', failure = 'phone_logout'")
    settled(worker, database)
    told = [one.verified(made.secret) for one in system.heard]
    states = {one["data"]["state"] for one in told if one["type"] == "message.state"}
    assert states == {"sent", "delivered", "read"}
    assert {one["data"]["id"] for one in told if one["type"] == "message.state"} == {str(sent.id)}
    (session,) = (one["data"] for one in told if one["type"] == "session.status")
    assert (session["status"], session["failure"]) == ("desconectado", "phone_logout")
    assert len(told) == 4, "what it does not want to hear of is not told"


def test_it_tells_nothing_of_what_was_rolled_back(user: Actor, database: Database) -> None:
    connected(database, user)
    made = webhook_endpoints.create_endpoint(user, "https://example.com/hook", ALL)
    with psycopg.connect(database.url) as connection:
        connection.execute("update whatsapp_sessions set status = 'pareando'")
        connection.rollback()
    assert webhook_endpoints.list_deliveries(user, made.id) == []


def test_it_tells_nobody_of_somebody_elses(
    user: Actor, new_actor: Callable[..., Actor], database: Database, system: WebhookConsumer, worker: Sender
) -> None:
    other, admin = new_actor(), new_actor(Role.ADMIN)
    for person in (user, other):
        connected(database, person)
    theirs = webhook_endpoints.create_endpoint(other, system.url, ALL)
    everybodys = webhook_endpoints.create_endpoint(admin, system.url, ALL, everybody=True)
    received(database, user)
    settled(worker, database)
    assert webhook_endpoints.list_deliveries(other, theirs.id) == []
    payload = system.first().verified(everybodys.secret)
    assert payload["data"]["user_id"] == str(user.user_id)
    assert "segredo do cliente" not in str(payload)
    assert "5511987654321" not in str(payload), "staff's systems hear no more than staff see"


def test_it_reads_what_it_tells_as_the_owner_may_see_it(
    user: Actor, new_actor: Callable[..., Actor], database: Database, system: WebhookConsumer, worker: Sender
) -> None:
    """Were a delivery ever to name somebody else's message, the database would not give it out."""
    other = new_actor()
    for person in (user, other):
        connected(database, person)
    made = webhook_endpoints.create_endpoint(user, system.url, ALL)
    foreign = received(database, other)
    received(database, user)
    database.execute("update webhook_deliveries set message_id = %s", foreign)
    settled(worker, database)
    assert system.heard == []
    assert (newest(user, made.id).state, newest(user, made.id).error) == (DeliveryState.DONE, "no_subject")


def test_it_keeps_to_the_schedule_for_days_and_then_gives_up(
    user: Actor, database: Database, system: WebhookConsumer, worker: Sender
) -> None:
    connected(database, user)
    made = webhook_endpoints.create_endpoint(user, system.url, ALL)
    system.status = 400
    received(database, user)
    for attempt, pause in enumerate(RETRY_AFTER, start=1):
        settled(worker, database)
        delivery = newest(user, made.id)
        assert (delivery.state, delivery.attempts, delivery.status) == (DeliveryState.WAITING, attempt, 400)
        after = delivery.next_at - datetime.now(UTC)
        assert pause - timedelta(seconds=20) <= after <= pause * 1.1 + timedelta(seconds=1)
        database.execute("update webhook_deliveries set next_at = clock_timestamp()")
    settled(worker, database)
    assert newest(user, made.id).state is DeliveryState.DEAD
    assert len({one.id for one in system.heard}) == 1, "the id stays the same, so that the other side can tell"
    assert sum(RETRY_AFTER, timedelta()) > timedelta(days=3)


def test_it_replays_dead_letters_one_or_all(
    user: Actor, database: Database, system: WebhookConsumer, worker: Sender
) -> None:
    connected(database, user)
    made = webhook_endpoints.create_endpoint(user, system.url, ALL)
    for number in range(3):
        received(database, user, str(number))
    database.execute("update webhook_deliveries set state = 'dead', attempts = 10, dead_at = now()")
    assert webhook_endpoints.list_endpoints(user)[0].dead == 3
    one = newest(user, made.id)
    webhook_endpoints.requeue(user, one.id)
    settled(worker, database)
    assert json.loads(system.first().body)["data"]["body"] == "2"
    with pytest.raises(NotFound):
        webhook_endpoints.requeue(user, one.id)
    assert webhook_endpoints.requeue_all(user, made.id) == 2
    settled(worker, database)
    assert sorted(json.loads(one.body)["data"]["body"] for one in system.heard) == ["0", "1", "2"]
    assert webhook_endpoints.list_endpoints(user)[0].dead == 0


def test_it_turns_an_endpoint_off_that_says_it_is_gone(
    user: Actor, database: Database, system: WebhookConsumer, worker: Sender
) -> None:
    connected(database, user)
    made = webhook_endpoints.create_endpoint(user, system.url, ALL)
    system.status = 410
    received(database, user)
    settled(worker, database)
    (endpoint,) = webhook_endpoints.list_endpoints(user)
    assert (endpoint.active, endpoint.off_reason, endpoint.dead) == (False, "gone", 1)
    received(database, user)
    assert len(webhook_endpoints.list_deliveries(user, made.id)) == 1, "nothing more is put down for it"
    webhook_endpoints.change_endpoint(user, made.id, active=True)
    assert webhook_endpoints.list_endpoints(user)[0].off_reason is None


def test_it_turns_an_endpoint_off_where_nobody_has_answered_for_days(
    user: Actor, database: Database, worker: Sender
) -> None:
    connected(database, user)
    webhook_endpoints.create_endpoint(user, f"http://127.0.0.1:{free_ports(1)[0]}/", ALL)
    received(database, user)
    settled(worker, database)
    (endpoint,) = webhook_endpoints.list_endpoints(user)
    assert (endpoint.active, endpoint.failing_since is not None) == (True, True)
    database.execute(
        "update webhook_endpoints set failing_since = now() - interval '6 days', available_at = now();"
        "update webhook_deliveries set next_at = now()"
    )
    settled(worker, database)
    (endpoint,) = webhook_endpoints.list_endpoints(user)
    assert (endpoint.active, endpoint.off_reason, endpoint.waiting) == (False, "failing", 1)


def test_it_is_held_up_by_no_endpoint_that_hangs(
    user: Actor, new_actor: Callable[..., Actor], database: Database, system: WebhookConsumer, worker: Sender
) -> None:
    other = new_actor()
    for person in (user, other):
        connected(database, person)
    with running_consumer() as hanging:
        hanging.hangs = True
        webhook_endpoints.create_endpoint(other, hanging.url, ALL)
        webhook_endpoints.create_endpoint(user, system.url, ALL)
        for _ in range(20):
            received(database, other)
        wait_for(
            lambda: (
                (worker.step() and hanging.under_way == webhook_delivery.MAX_POSTS_PER_ENDPOINT) or hanging.under_way
            )
        )
        for _ in range(20):
            received(database, user)
        work(worker, lambda: len(system.heard) == 20)
        assert hanging.most_under_way == webhook_delivery.MAX_POSTS_PER_ENDPOINT
        assert hanging.heard == []
        assert webhook_delivery.next_due_in() is None, "what finds no room keeps nobody awake"


def test_it_tries_one_that_is_away_with_a_single_post_and_sends_the_rest_when_it_is_back(
    user: Actor, database: Database, system: WebhookConsumer, worker: Sender
) -> None:
    connected(database, user)
    webhook_endpoints.create_endpoint(user, system.url, ALL)
    system.status = 503
    for _ in range(webhook_delivery.MAX_POSTS_PER_ENDPOINT + 4):
        received(database, user)
    settled(worker, database)
    tries = len(system.heard)
    assert tries <= webhook_delivery.MAX_POSTS_PER_ENDPOINT
    database.execute("update webhook_endpoints set available_at = clock_timestamp()")
    settled(worker, database)
    assert len(system.heard) == tries + 1, "one more, and then it is left alone for longer"
    system.status, before = 200, len(system.heard)
    database.execute("update webhook_endpoints set available_at = clock_timestamp()")
    settled(worker, database)
    assert len(system.heard) - before == webhook_delivery.MAX_POSTS_PER_ENDPOINT + 4
    assert database.one("select failures from webhook_endpoints") == 0


def test_it_leaves_what_a_dead_worker_held_to_the_next(
    user: Actor, database: Database, system: WebhookConsumer, worker: Sender
) -> None:
    connected(database, user)
    webhook_endpoints.create_endpoint(user, system.url, ALL)
    received(database, user)
    (lost,) = webhook_delivery._claim(10)
    assert webhook_delivery._claim(10) == [], "it is leased"
    database.execute("update webhook_deliveries set next_at = clock_timestamp()")
    settled(worker, database)
    assert len(system.heard) == 1
    webhook_delivery._record_answer(lost, None)
    assert database.one("select attempts || state from webhook_deliveries") == "2done", (
        "the fence refuses the late outcome"
    )


def test_it_signs_with_both_secrets_for_a_day_after_a_change(
    user: Actor, database: Database, system: WebhookConsumer, worker: Sender
) -> None:
    connected(database, user)
    old = webhook_endpoints.create_endpoint(user, system.url, ALL)
    new = webhook_endpoints.rotate_secret(user, old.id)
    received(database, user)
    settled(worker, database)
    assert system.first().verified(old.secret) == system.first().verified(new.secret)
    database.execute("update webhook_endpoints set rotated_at = now() - interval '25 hours'")
    received(database, user)
    settled(worker, database)
    system.heard[1].verified(new.secret)
    with pytest.raises(WebhookVerificationError):
        system.heard[1].verified(old.secret)


def test_it_tests_an_endpoint_at_once_even_one_that_is_left_alone(
    user: Actor, database: Database, system: WebhookConsumer, worker: Sender
) -> None:
    made = webhook_endpoints.create_endpoint(user, system.url, ALL)
    database.execute("update webhook_endpoints set failures = 5, available_at = now() + interval '5 minutes'")
    webhook_endpoints.send_test(user, made.id)
    settled(worker, database)
    assert system.first().verified(made.secret)["type"] == "webhook.test"


def test_it_forwards_nothing_for_somebody_who_is_shut_out(
    user: Actor, database: Database, system: WebhookConsumer, worker: Sender
) -> None:
    connected(database, user)
    webhook_endpoints.create_endpoint(user, system.url, ALL)
    database.execute("insert into accounts (user_id, active) values (%s, false)", user.user_id)
    received(database, user)
    assert worker.step() is False
    assert webhook_delivery.next_due_in() is None, "what may not be told keeps nobody awake"
    assert system.heard == []


def test_it_refuses_what_is_incomplete_private_or_too_much(
    user: Actor, staff: Actor, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WrongEndpoint):
        webhook_endpoints.create_endpoint(user, "https://example.com", frozenset())
    for nobody in (user, staff):
        with pytest.raises(Forbidden):
            webhook_endpoints.create_endpoint(nobody, "https://example.com", ALL, everybody=True)
    for _ in range(webhook_endpoints.MAX_ENDPOINTS_PER_OWNER):
        webhook_endpoints.create_endpoint(user, "https://example.com", ALL)
    with pytest.raises(TooManyEndpoints):
        webhook_endpoints.create_endpoint(user, "https://example.com", ALL)
    monkeypatch.setenv("FORWARD_ALLOW_PRIVATE", "false")
    forget_process_state()
    with pytest.raises(PrivateAddress):
        webhook_endpoints.create_endpoint(staff, "http://127.0.0.1:5432/", ALL)


def test_it_lets_nobody_touch_anothers_endpoint(user: Actor, new_actor: Callable[..., Actor]) -> None:
    made = webhook_endpoints.create_endpoint(user, "https://example.com", ALL)
    for other in (new_actor(), new_actor(Role.ADMIN)):
        assert webhook_endpoints.list_endpoints(other) == []
        for call in (webhook_endpoints.rotate_secret, webhook_endpoints.delete_endpoint, webhook_endpoints.send_test):
            with pytest.raises(NotFound):
                call(other, made.id)
        with pytest.raises(NotFound):
            webhook_endpoints.change_endpoint(other, made.id, url="https://attacker.example.com")
    webhook_endpoints.delete_endpoint(user, made.id)
    assert webhook_endpoints.list_endpoints(user) == []


def test_it_shows_the_secret_to_nobody_and_tells_none_in_the_log(
    user: Actor, database: Database, system: WebhookConsumer, worker: Sender, capsys: pytest.CaptureFixture[str]
) -> None:
    connected(database, user)
    made = webhook_endpoints.create_endpoint(user, system.url, ALL)
    received(database, user)
    settled(worker, database)
    for column in ("secret", "previous_secret"):
        for statement in (f"select {column} from webhook_endpoints", f"update webhook_endpoints set url = {column}"):
            with pytest.raises(Exception, match="permission denied"), transaction(user) as tx:
                tx.exec_driver_sql(statement)
    said = "".join(capsys.readouterr())
    for private in (made.secret, "a-token-of-theirs", "segredo do cliente"):
        assert private not in said
        assert private not in str(database.execute("select detail from audit_log"))
    assert made.secret not in repr(made)


def test_it_drops_what_is_old(user: Actor, database: Database) -> None:
    connected(database, user)
    made = webhook_endpoints.create_endpoint(user, "https://example.com", ALL)
    for number in range(4):
        received(database, user, str(number))
    database.execute(
        "update webhook_deliveries set state = 'done', created_at = now() - interval '8 days' where seq = 1;"
        "update webhook_deliveries set created_at = now() - interval '8 days' where seq = 2;"
        "update webhook_deliveries set state = 'dead', created_at = now() - interval '31 days' where seq = 3"
    )
    webhook_delivery.purge_expired()
    assert len(webhook_endpoints.list_deliveries(user, made.id)) == 2


def test_it_finds_its_way_by_indexes(user: Actor, database: Database) -> None:
    connected(database, user)
    database.execute(
        "insert into webhook_endpoints (user_id, url, secret, kinds)"
        " select %s, 'https://example.com', 'whsec_x', '{message.state}' from generate_series(1, 20)",
        user.user_id,
    )
    database.execute(
        "insert into webhook_deliveries (endpoint_id, user_id, kind, state)"
        " select e.id, e.user_id, 'message.state', 'done' from webhook_endpoints e, generate_series(1, 2000)"
    )
    database.execute("analyze webhook_endpoints, webhook_deliveries")
    bounds = {"limit": 10, "each": 3, "lease": timedelta(seconds=60), "rotation": timedelta(days=1)}
    with transaction(SYSTEM) as tx:
        statement = webhook_delivery._CLAIM.text.replace("\n", " ")
        plan = "\n".join(row[0] for row in tx.execute(webhook_endpoints.text(f"explain {statement}"), bounds))
    assert "webhook_deliveries_due" in plan
    assert "Seq Scan on webhook_deliveries" not in plan
