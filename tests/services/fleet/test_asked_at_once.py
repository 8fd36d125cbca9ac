"""A call that the server answers with "Disconnected" is evidence: the session is asked about at once."""

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from services.contacts import number_checks
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.diagnostics import facts
from services.fleet import checks
from services.fleet import session as fleet_session
from services.fleet.session import Status
from services.inbound import backfill, conversation_actions, enrichment, ingest
from services.messaging import attempt, delivery, outbox, reconciliation, uncertain
from services.messaging.pace import Pace
from services.outreach import address_book
from services.wppconnect import event_parsing
from services.wppconnect.errors import WppDisconnected
from services.wppconnect.events import InboundMessage
from tests.support.databases import Database
from tests.support.process_state import forget_process_state
from tests.support.sandbox_control import SandboxControl
from tests.support.waiting import wait_for

ANA = "5511987654321"


@pytest.fixture
def fallen(sender: Actor, control: SandboxControl, database: Database) -> Actor:
    """A session whose page is gone: the server says CONNECTED of it and answers every call with 404 Disconnected; the
    console has not been told."""
    arrive(sender, control.inbound(f"user_{sender.user_id}", ANA, "oi"), "chat")
    outbox.queue(sender, ANA, "enviada antes", "before")
    deliver(sender)
    control.kill(f"user_{sender.user_id}", page_gone=True)
    database.execute("update whatsapp_sessions set check_at = null")
    return sender


def arrive(actor: Actor, payload: dict[str, object], kind: str) -> None:
    message = event_parsing.parse_event({**payload, "event": "onmessage", "type": kind})
    assert isinstance(message, InboundMessage)
    with transaction(SYSTEM) as tx:
        (session_id,) = fleet_session.get_ids(tx, [f"user_{actor.user_id}"]).values()
        assert session_id is not None
        ingest.ingest_message(tx, session_id, message, datetime.now(UTC))


def deliver(_actor: Actor) -> None:
    for claimed in delivery.claim_lanes(1)[0]:
        delivery.finish(claimed, attempt.deliver(claimed), Pace(0))


def send(actor: Actor) -> None:
    outbox.queue(actor, ANA, "depois", uuid4().hex)
    deliver(actor)


def ask_about_a_number(actor: Actor) -> None:
    session = fleet_session.get(actor)
    assert session is not None
    with pytest.raises(WppDisconnected):
        number_checks.check_numbers(actor, session.id, ["5511900001111"])


def read_a_chat(actor: Actor) -> None:
    newest = outbox.list_recent(actor)[0]
    with pytest.raises(WppDisconnected):
        uncertain.read_chat(actor, newest.id)


def react(actor: Actor) -> None:
    (inbound,) = outbox.list_recent(actor, direction="in")
    with pytest.raises(WppDisconnected):
        conversation_actions.react(actor, inbound.id, conversation_actions.EMOJIS[0])


def look_for_an_uncertain_one(_actor: Actor) -> None:
    with transaction(SYSTEM) as tx:
        tx.exec_driver_sql("update messages set state = 'uncertain', reconcile_at = now() where direction = 'out'")
    reconciliation.reconcile()


def look_into_the_address_book(actor: Actor) -> None:
    address_book.list_people(actor)


def list_the_groups(actor: Actor) -> None:
    address_book.list_groups(actor)


def ask_what_groups_are_called(actor: Actor) -> None:
    group = "120363000000000001@g.us"
    arrive(actor, {"id": f"false_{group}_X_{ANA}@c.us", "from": group, "chatId": group, "author": f"{ANA}@c.us",
                   "isGroupMsg": True, "body": "oi"}, "chat")  # fmt: skip
    assert enrichment.identify_contacts() == 1


def read_back(_actor: Actor) -> None:
    with transaction(SYSTEM) as tx:
        tx.exec_driver_sql("select app.record_outage('receiver', now() - interval '1 hour', now(), null, null)")
        tx.exec_driver_sql("update outages set next_at = now() where state = 'waiting'")
    reader = backfill.build_reader()
    wait_for(reader.step)
    reader.drain()


def diagnose(actor: Actor) -> None:
    facts.ask_server(actor)


def due(database: Database) -> bool:
    return bool(database.one("select coalesce(check_at <= now(), false) from whatsapp_sessions"))


@pytest.mark.parametrize(
    "call",
    [
        send,
        ask_about_a_number,
        read_a_chat,
        react,
        look_for_an_uncertain_one,
        look_into_the_address_book,
        list_the_groups,
        ask_what_groups_are_called,
        read_back,
        diagnose,
    ],
)
def test_it_asks_about_the_session_at_once(fallen: Actor, database: Database, call: Callable[[Actor], None]) -> None:
    call(fallen)
    assert due(database)
    assert checks.run_due_checks() == 1
    session = fleet_session.get(fallen)
    assert session is not None
    assert session.status is Status.DISCONNECTED


def test_staff_have_it_asked_too_and_strangers_do_not(
    fallen: Actor, staff: Actor, new_actor: Callable[..., Actor], database: Database
) -> None:
    name = f"user_{fallen.user_id}"

    def refused(actor: Actor) -> None:
        with pytest.raises(WppDisconnected), checks.check_if_disconnected(actor, name):
            raise WppDisconnected

    refused(new_actor())
    assert not due(database)
    refused(staff)
    assert due(database)


def test_what_the_call_said_stays_true_while_the_database_is_away(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYSTEM_DATABASE_URL", "postgresql://nobody@127.0.0.1:9/nowhere")
    forget_process_state()
    with pytest.raises(WppDisconnected), checks.check_if_disconnected(SYSTEM, "user_x"):
        raise WppDisconnected


def test_one_that_is_down_already_is_not_asked(sender: Actor, database: Database) -> None:
    database.execute("update whatsapp_sessions set status = 'desconectado', check_at = null")
    with pytest.raises(WppDisconnected), checks.check_if_disconnected(sender, f"user_{sender.user_id}"):
        raise WppDisconnected
    assert not due(database)
