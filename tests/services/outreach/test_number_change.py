"""Another phone is paired: what was made for the number before waits for its owner's word, and nothing mixes."""

from typing import Any
from uuid import UUID

import pytest

from services.contacts import contacts
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.errors import Forbidden, NotFound
from services.fleet import own_number, timeline, transitions
from services.fleet.own_number import NumberUndecided
from services.inbound import conversation_actions, conversations, ingest
from services.inbound.conversation_actions import CannotReply
from services.messaging import delivery, kill_switch, outbox
from services.outreach import number_change
from services.outreach.number_change import Decision
from services.wppconnect.events import InboundMessage
from tests.support.databases import Database
from tests.support.sessions import connected

FIRST, OTHER, ANA = "5511999990000", "5511987650009", "5511933334444"


@pytest.fixture
def owner(user: Actor, database: Database) -> Actor:
    connected(database, user, phone=FIRST)
    return user


def pair(database: Database, actor: Actor, phone: str) -> None:
    """What the worker writes when it has read whose session it is."""
    database.execute("update whatsapp_sessions set phone_number = %s where user_id = %s", phone, actor.user_id)


def meet(database: Database, actor: Actor, address: str, phone: str | None = None, lid: str | None = None) -> UUID:
    """Somebody's first message comes in, as far as its contact goes."""
    made: UUID = database.one(
        "select app.get_or_create_contact(id, %s, %s, %s, false) from whatsapp_sessions where user_id = %s",
        address, phone, lid, actor.user_id,
    )  # fmt: skip
    database.execute("update contacts set last_message_at = now() where id = %s", made)
    return made


def listed(actor: Actor, of_number: str | None = None) -> list[UUID]:
    return [chat.contact.id for chat in conversations.list_chats(actor, of_number=of_number).chats]


def claimed(database: Database) -> int:
    return len(delivery.claim_lanes(10)[0])


def test_it_stops_and_tells_when_another_number_is_paired(owner: Actor, staff: Actor, database: Database) -> None:
    outbox.queue(owner, "11987654321", "Olá", "key")
    pair(database, owner, OTHER)
    assert claimed(database) == 0
    change = own_number.get_change(owner)
    assert change is not None
    assert (change.phone, change.earlier) == (OTHER, FIRST)
    assert number_change.list_waiting(owner, change).messages == 1
    for reader in (owner, staff):
        assert owner.user_id is not None
        newest = timeline.list_entries(reader, owner.user_id).entries[0]
        assert (newest.what, newest.detail) == ("number_changed", {"from": FIRST, "to": OTHER})
    with pytest.raises(NumberUndecided):
        kill_switch.resume_sending(owner)
    with pytest.raises(NumberUndecided):
        kill_switch.resume_sending(staff, owner.user_id)


@pytest.mark.parametrize("phone", [FIRST, "551199990000"])
def test_another_spelling_is_no_change(owner: Actor, database: Database, phone: str) -> None:
    pair(database, owner, phone)
    assert own_number.get_change(owner) is None
    assert kill_switch.get_stop(owner) is None


def test_a_number_that_was_lost_and_found_is_no_change(owner: Actor, database: Database) -> None:
    database.execute("update whatsapp_sessions set phone_number = null")
    pair(database, owner, FIRST)
    assert own_number.get_change(owner) is None
    database.execute("update whatsapp_sessions set phone_number = null")
    pair(database, owner, OTHER)
    assert own_number.get_change(owner) is not None


def test_what_waited_goes_on_by_the_new_number(owner: Actor, database: Database) -> None:
    old = meet(database, owner, f"{ANA}@c.us", ANA)
    sent = outbox.queue(owner, ANA, "Olá", "key")
    assert database.one("select contact_id from messages where id = %s", sent.id) == old
    database.execute(
        "insert into number_checks (session_id, user_id, phone, on_whatsapp, address, fresh_until)"
        " select id, user_id, %s, true, %s, now() + interval '1 day' from whatsapp_sessions", ANA, f"{ANA}@c.us",
    )  # fmt: skip
    pair(database, owner, OTHER)
    number_change.decide(owner, Decision.CONTINUE, OTHER)
    assert claimed(database) == 1
    assert own_number.get_change(owner) is None
    filed = database.one("select contact_id from messages where id = %s", sent.id)
    assert filed != old
    assert listed(owner) == [filed]
    with pytest.raises(NotFound):
        number_change.decide(owner, Decision.DROP)


def test_what_waited_is_dropped_and_nothing_else(owner: Actor, database: Database) -> None:
    outbox.queue(owner, "11987654321", "velha", "old")
    pair(database, owner, OTHER)
    outbox.queue(owner, "11987654321", "nova", "new")
    number_change.decide(owner, Decision.DROP)
    assert database.execute("select body, state from messages order by seq") == [
        ("velha", "cancelled"),
        ("nova", "queued"),
    ]
    assert kill_switch.get_stop(owner) is None
    assert claimed(database) == 1


def test_only_its_owner_decides(owner: Actor, staff: Actor, database: Database) -> None:
    pair(database, owner, OTHER)
    with pytest.raises(NotFound):
        number_change.decide(staff, Decision.DROP)
    with pytest.raises(Forbidden):
        number_change.decide(SYSTEM, Decision.DROP)
    with pytest.raises(NotFound):
        number_change.decide(owner, Decision.DROP, "5511900000000")
    assert own_number.get_change(owner) is not None
    assert own_number.get_change(staff, owner.user_id) is not None


def test_what_staff_stopped_stays_stopped(owner: Actor, staff: Actor, database: Database) -> None:
    pair(database, owner, OTHER)
    kill_switch.stop_sending(staff, owner.user_id)
    number_change.decide(owner, Decision.CONTINUE)
    found = kill_switch.get_stop(owner)
    assert found is not None
    assert found.stopped_by_staff


def test_the_number_before_comes_back(owner: Actor, database: Database) -> None:
    """Nothing was made for the other one: there is nothing to ask."""
    outbox.queue(owner, "11987654321", "Olá", "key")
    pair(database, owner, OTHER)
    pair(database, owner, FIRST)
    assert own_number.get_change(owner) is None
    assert claimed(database) == 1


def test_it_asks_when_something_was_queued_for_the_number_in_between(owner: Actor, database: Database) -> None:
    pair(database, owner, OTHER)
    outbox.queue(owner, "11987654321", "Olá", "key")
    pair(database, owner, FIRST)
    change = own_number.get_change(owner)
    assert change is not None
    assert (change.phone, change.earlier) == (FIRST, OTHER)
    assert claimed(database) == 0


def test_it_sends_nothing_until_its_server_said_whose_number_it_is(owner: Actor, database: Database) -> None:
    outbox.queue(owner, "11987654321", "Olá", "key")
    with transaction(SYSTEM) as tx:
        transitions.apply_report(tx, f"user_{owner.user_id}", "inChat", database.one("select now()"), current=True)
    assert claimed(database) == 0
    database.execute("update whatsapp_sessions set settling_since = null")
    assert claimed(database) == 1


# --- conversations ----------------------------------------------------------------------------------------------------


def test_it_tells_conversations_apart_by_number(owner: Actor, database: Database) -> None:
    old = meet(database, owner, f"{ANA}@c.us", ANA)
    contacts.save(owner, old, "Ana", "liga à noite", ["vip"])
    contacts.block(owner, old)
    pair(database, owner, OTHER)
    new = meet(database, owner, "77@lid", ANA, "77@lid")
    assert new != old
    carried = contacts.get(owner, new)
    assert (carried.name, carried.notes, carried.labels) == ("Ana", "liga à noite", ("vip",))
    assert carried.blocked_at is not None
    assert listed(owner) == [new]
    assert own_number.list_earlier(owner) == [FIRST]
    assert listed(owner, FIRST) == [old]
    contacts.block(owner, old, blocked=False)
    with pytest.raises(CannotReply):
        conversation_actions.reply(owner, old, "oi", "key")


def test_conversations_come_back_with_their_number(owner: Actor, database: Database) -> None:
    first = meet(database, owner, f"{ANA}@c.us", ANA, "77@lid")
    pair(database, owner, OTHER)
    second = meet(database, owner, f"{ANA}@c.us", ANA)
    pair(database, owner, FIRST)
    assert meet(database, owner, "77@lid", None, "77@lid") == first
    assert listed(owner) == [first]
    pair(database, owner, OTHER)
    assert meet(database, owner, f"{ANA}@c.us", ANA) == second
    assert own_number.list_earlier(owner) == [FIRST]


def test_an_old_conversation_gets_no_addresses(owner: Actor, database: Database) -> None:
    old = meet(database, owner, f"{ANA}@c.us", ANA)
    pair(database, owner, OTHER)
    database.execute("update contacts set lid = '77@lid' where id = %s", old)
    assert meet(database, owner, "77@lid", None, "77@lid") != old


def test_a_late_word_finds_the_message_of_the_number_before(owner: Actor, database: Database) -> None:
    old = meet(database, owner, f"{ANA}@c.us", ANA)
    row: dict[str, Any] = {"id": f"true_{ANA}@c.us_3EB0AA"}
    made = database.one(
        "insert into messages (session_id, user_id, contact_id, direction, state, phone, wpp_id)"
        " select id, user_id, %s, 'out', 'sent', %s, %s from whatsapp_sessions returning id", old, ANA, row["id"],
    )  # fmt: skip
    pair(database, owner, OTHER)
    meet(database, owner, f"{ANA}@c.us", ANA)
    found = database.one("select app.find_message(id, %s) from whatsapp_sessions", row["id"])
    assert found == made


def arrive(database: Database, text: str, own: str, chat: str = f"{ANA}@c.us", number: int = 1) -> None:
    """A message comes in that was written to the number `own`."""
    message = InboundMessage(
        id=f"false_{chat}_3EB0{number:06}{text}", from_=chat, to=f"{own}@c.us", chat_id=chat, type="chat", body=text,
        is_group=False,
    )  # fmt: skip
    with transaction(SYSTEM) as tx:
        session_id = database.one("select id from whatsapp_sessions")
        ingest.ingest_message(tx, session_id, message, database.one("select now()"))


def threads(database: Database) -> list[tuple[str | None, list[str]]]:
    return [
        (of_number, texts)
        for of_number, texts in database.execute(
            "select k.of_number, array_agg(m.body order by m.seq)"
            " from messages m join contacts k on k.id = m.contact_id group by k.id"
            " order by k.of_number nulls last, k.created_at"
        )
    ]


def test_a_message_that_comes_before_the_number_is_read_starts_the_change(owner: Actor, database: Database) -> None:
    arrive(database, "para o primeiro", FIRST)
    database.execute("update whatsapp_sessions set settling_since = now()")
    arrive(database, "para o outro", OTHER)
    change = own_number.get_change(owner)
    assert change is not None
    assert (change.phone, change.earlier) == (OTHER, FIRST)
    pair(database, owner, OTHER)
    assert threads(database) == [("551199990000@c.us", ["para o primeiro"]), (None, ["para o outro"])]


def test_what_comes_late_is_the_earlier_numbers(owner: Actor, database: Database) -> None:
    arrive(database, "a tempo", FIRST)
    pair(database, owner, OTHER)
    arrive(database, "do outro", OTHER)
    arrive(database, "tarde", FIRST)
    arrive(database, "tarde", FIRST)
    assert own_number.get_change(owner) is not None
    assert threads(database) == [("551199990000@c.us", ["a tempo", "tarde"]), (None, ["do outro"])]


def test_an_own_address_that_nobody_knows_changes_nothing(owner: Actor, database: Database) -> None:
    arrive(database, "oi", OTHER)
    assert own_number.get_change(owner) is None
    assert threads(database) == [(None, ["oi"])]
