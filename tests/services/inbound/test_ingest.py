"""What comes in becomes conversations: once, whatever came first, whoever goes by two addresses."""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from services.contacts import contacts
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.inbound import annotations, effects, ingest
from services.inbound.ingest import IngestedMessage, News
from services.messaging import acknowledgements, claims, delivery, outbox, state
from services.messaging.state import State
from services.wppconnect.events import Annotation, InboundMessage
from tests.support.databases import Database
from tests.support.sessions import connected

ANA, LID, GROUP = "5511987654321@c.us", "123456789012345@lid", "120363000000000000@g.us"
NOW = datetime.now(UTC).replace(microsecond=0)
NUMBERS = itertools.count(1)


@pytest.fixture
def session(database: Database, user: Actor) -> UUID:
    return connected(database, user)


def said(text: str = "Olá", chat: str = ANA, **more: Any) -> InboundMessage:
    mine = more.get("from_me", False)
    made = {
        "id": f"{str(mine).lower()}_{chat}_3EB0{next(NUMBERS):06}",
        "from_": "5511999990000@c.us" if mine else chat,
        "to": chat if mine else "5511999990000@c.us",
        "chat_id": chat,
        "type": "chat",
        "body": text,
        "timestamp": int(NOW.timestamp()),
        "is_group": chat.endswith("@g.us"),
    }
    return InboundMessage(**{**made, **more})


def take(session: UUID, message: InboundMessage, **more: Any) -> IngestedMessage | None:
    with transaction(SYSTEM) as tx:
        taken = ingest.ingest_message(tx, session, message, NOW, **more)
        if taken is not None:
            effects.apply_effects(tx, taken, [])
        return taken


def note(session: UUID, about: str, kind: str, who: str = ANA, at: int = 0, **value: Any) -> None:
    with transaction(SYSTEM) as tx:
        moment = int(NOW.timestamp() * 1000) + at
        annotations.store_annotation(tx, session, Annotation(about, kind, who, moment, value), NOW)  # type: ignore[arg-type]
        ingest.apply_edit(tx, session, about)


def chats(database: Database) -> list[tuple[Any, ...]]:
    return database.execute("select address, phone, lid, unread from contacts order by created_at, id")


def test_it_stores_a_message_once_however_often_it_comes(session: UUID, database: Database, user: Actor) -> None:
    message = said("Bom dia")
    taken = take(session, message)
    assert taken is not None
    assert (taken.direction, taken.text, taken.phone, taken.user_id) == ("in", "Bom dia", "5511987654321", user.user_id)
    assert [take(session, message), take(session, message, recovered=True)] == [None, None]
    (stored,) = outbox.list_recent(user, direction=None)
    assert (stored.state, stored.body) == (State.RECEIVED, "Bom dia")
    assert chats(database) == [(ANA, "5511987654321", None, 1)]


def test_it_makes_a_message_that_was_read_back_the_same_as_one_that_came(session: UUID, database: Database) -> None:
    first, second = take(session, said("um")), take(session, said("dois"), recovered=True)
    assert first is not None
    assert second is not None
    assert (first.contact_id, first.recovered, second.recovered) == (second.contact_id, False, True)
    assert database.one("select unread from contacts") == 2


def test_it_takes_nothing_for_a_session_that_is_gone(database: Database) -> None:
    assert take(UUID(int=1), said()) is None
    assert database.one("select count(*) from messages") == 0


# --- whose it is ------------------------------------------------------------------------------------------------------


def test_it_knows_an_old_account_without_the_ninth_digit(session: UUID, database: Database) -> None:
    take(session, said(chat="551187654321@c.us"))
    take(session, said(chat=ANA))
    assert chats(database) == [("551187654321@c.us", "5511987654321", None, 2)]


def test_it_makes_one_of_who_came_by_phone_and_by_lid(session: UUID, database: Database) -> None:
    orders = list(itertools.permutations(["phone", "lid", "both"]))
    for number, order in enumerate(orders):
        phone, lid = f"551198765432{number}@c.us", f"12345678901234{number}@lid"
        ways = {"phone": said(chat=phone), "lid": said(chat=lid), "both": said(chat=lid, phone_id=phone)}
        for way in order:
            take(session, ways[way])
    found = {(phone, lid, unread) for _, phone, lid, unread in chats(database)}
    assert found == {(f"551198765432{n}", f"12345678901234{n}@lid", 3) for n in range(len(orders))}
    assert database.one("select count(distinct contact_id) from messages") == len(orders)


def test_it_keeps_what_the_owner_noted_when_two_become_one(session: UUID, database: Database, user: Actor) -> None:
    by_lid, by_phone = take(session, said(chat=LID)), take(session, said(chat=ANA))
    assert by_lid is not None
    assert by_phone is not None
    contacts.save(user, by_lid.contact_id, "Ana", "gosta de azul", ["vip"])
    contacts.save(user, by_phone.contact_id, "", "mora perto", ["cliente"])
    with transaction(SYSTEM) as tx:
        kept = contacts.link_lid_to_phone(tx, session, LID, "5511987654321", datetime.now(UTC))
    found = contacts.get(user, kept or UUID(int=0))
    assert (found.name, found.notes, found.labels) == ("Ana", "mora perto\ngosta de azul", ("cliente", "vip"))


def test_it_files_a_group_under_the_group_and_keeps_its_author(session: UUID, database: Database) -> None:
    taken = take(session, said(chat=GROUP, author=ANA, pushname="Ana"))
    assert taken is not None
    assert (taken.is_group, taken.phone) == (True, None)
    assert database.execute("select address, is_group, pushname, last_message_at is null from contacts order by 1") == [
        (GROUP, True, None, False),
        (ANA, False, "Ana", True),
    ]
    assert database.execute("select detail ->> 'author', contact_name from messages") == [(ANA, "Ana")]


def test_it_counts_nothing_as_unread_of_who_is_blocked(session: UUID, database: Database, user: Actor) -> None:
    taken = take(session, said())
    assert taken is not None
    contacts.block(user, taken.contact_id)
    take(session, said())
    assert database.one("select unread from contacts") == 0
    contacts.block(user, taken.contact_id, blocked=False)
    take(session, said())
    assert database.one("select unread from contacts") == 1


@pytest.mark.parametrize("message", [said(chat="1234@broadcast"), said(chat="120363@newsletter"), said(from_me=True)])
def test_it_raises_no_unread_for_what_nobody_must_read(
    session: UUID, database: Database, message: InboundMessage
) -> None:
    assert take(session, message) is not None
    assert database.one("select unread from contacts") == 0


def test_it_leaves_alone_who_asks_for_it_in_a_chat_of_two(session: UUID, database: Database, user: Actor) -> None:
    take(session, said("Sair", chat=GROUP))
    take(session, said("sair", from_me=True))
    assert database.one("select count(*) from opt_outs") == 0
    taken = take(session, said("SAIR, por favor!"))
    assert taken is not None
    assert contacts.get(user, taken.contact_id).opted_out
    assert database.execute("select phone, trigger_word from opt_outs") == [("5511987654321", "SAIR")]


def test_it_tells_when_it_was_said_but_never_from_the_future(session: UUID, database: Database) -> None:
    take(session, said("antes", timestamp=int(NOW.timestamp()) - 3600))
    take(session, said("depois", timestamp=int(NOW.timestamp()) + 86_400))
    take(session, said("sem hora", timestamp=None))
    found = dict(database.execute("select body, occurred_at from messages"))
    assert found == {"antes": NOW - timedelta(hours=1), "depois": NOW, "sem hora": NOW}
    assert database.one("select last_message_at from contacts") == NOW


# --- what was sent ----------------------------------------------------------------------------------------------------


def queued(user: Actor, text: str = "Oi") -> UUID:
    return outbox.queue(user, "(11) 98765-4321", text, f"key {next(NUMBERS)}").id


def test_it_puts_what_is_sent_into_the_same_conversation(session: UUID, database: Database, user: Actor) -> None:
    before = queued(user)
    assert chats(database) == []
    taken = take(session, said())
    after = queued(user)
    database.execute("update messages set state = 'sending', address = %s where id = %s", ANA, before)
    assert taken is not None
    assert database.execute("select distinct contact_id from messages") == [(taken.contact_id,)]
    assert database.one("select occurred_at > created_at from messages where id = %s", before)
    assert database.one("select occurred_at = run_at from messages where id = %s", after)


def test_it_learns_a_lid_from_the_address_that_a_message_leaves_for(
    session: UUID, database: Database, user: Actor
) -> None:
    take(session, said(chat=LID))
    database.execute("update messages set state = 'sending', address = %s where id = %s", LID, queued(user))
    assert chats(database) == [(LID, "5511987654321", LID, 1)]


def test_it_shows_what_was_typed_on_the_phone_as_sent_and_moves_it_by_acks(
    session: UUID, database: Database, user: Actor
) -> None:
    typed = said("do celular", from_me=True)
    with transaction(SYSTEM) as tx:
        acknowledgements.acknowledge(tx, session, typed.id, 2, NOW)
    take(session, typed)
    (message,) = outbox.list_recent(user)
    assert (message.state, message.delivered_at) == (State.DELIVERED, NOW)
    with transaction(SYSTEM) as tx:
        acknowledgements.acknowledge(tx, session, typed.id, 3, NOW)
        acknowledgements.acknowledge(tx, session, typed.id, 1, NOW)
    assert outbox.list_recent(user)[0].state is State.READ


def test_it_knows_its_own_message_when_whatsapp_tells_of_it_before_the_server_answers(
    session: UUID, database: Database, user: Actor
) -> None:
    mine = queued(user)
    database.execute("update messages set state = 'sending', attempts = 1 where id = %s", mine)
    told = said("Oi", from_me=True)
    take(session, told)
    with transaction(SYSTEM) as tx:
        acknowledgements.acknowledge(tx, session, told.id, 2, NOW)
    assert database.one("select count(*) from messages") == 2
    claimed = claims.Claimed(
        mine,
        session,
        user.user_id or mine,
        "",
        "",
        "",
        1,
        NOW,
        True,
        True,
        None,
        "chat",
        "",
        None,
        None,
        None,
        {},
        None,
        None,
    )
    with transaction(SYSTEM) as tx:
        delivery.settle(tx, [(claimed, claims.Outcome(State.ACCEPTED, wpp_id=told.id))])
    (only,) = outbox.list_recent(user)
    assert (only.id, only.state) == (mine, State.DELIVERED)
    assert take(session, told) is None


def test_it_says_why_a_message_failed_unless_it_left(session: UUID, database: Database, user: Actor) -> None:
    reasons = set()
    for ack in range(-7, 0):
        mine = queued(user)
        database.execute("update messages set state = 'accepted', wpp_id = %s where id = %s", str(mine), mine)
        with transaction(SYSTEM) as tx:
            acknowledgements.acknowledge(tx, session, str(mine), ack, NOW)
        found = outbox.get_message(user, mine)
        assert found.state is State.FAILED
        reasons.add(state.FAILURES[found.failure or ""])
        with transaction(SYSTEM) as tx:
            acknowledgements.acknowledge(tx, session, str(mine), 1, NOW)
            acknowledgements.acknowledge(tx, session, str(mine), ack, NOW)
        assert outbox.get_message(user, mine).state is State.SENT
    assert len(reasons) == 7


# --- what became of it later ------------------------------------------------------------------------------------------


def marks(database: Database, kind: str) -> list[tuple[Any, ...]]:
    return database.execute("select author, value from message_annotations where kind = %s order by author", kind)


@pytest.mark.parametrize("turn", [lambda x: x, reversed], ids=["in order", "backwards"])
def test_it_keeps_the_newest_reaction_of_each(
    session: UUID, database: Database, turn: Callable[[list[Any]], Any]
) -> None:
    message = said()
    steps = [
        lambda: take(session, message),
        lambda: note(session, message.id, "reaction", ANA, 1, emoji="👍"),
        lambda: note(session, message.id, "reaction", LID, 2, emoji="❤️"),
        lambda: note(session, message.id, "reaction", "me", 3, emoji="😂"),
    ]
    for step in turn(steps):
        step()
    assert marks(database, "reaction") == [("me", {"emoji": "😂"}), ("them", {"emoji": "❤️"})]


@pytest.mark.parametrize("turn", [lambda x: x, reversed], ids=["in order", "backwards"])
def test_it_says_what_a_message_was_last_changed_to(
    session: UUID, database: Database, turn: Callable[[list[Any]], Any]
) -> None:
    message = said("Ola")
    steps = [
        lambda: take(session, message),
        lambda: note(session, message.id, "edit", ANA, 1000, body="Olá"),
        lambda: note(session, message.id, "edit", ANA, 2000, body="Olá!"),
    ]
    for step in turn(steps):
        step()
    assert database.one("select body from messages") == "Olá!"


def test_it_takes_an_edit_from_a_message_that_comes_again(session: UUID, database: Database) -> None:
    message = said("Ola")
    take(session, message)
    changed = {**vars(message), "body": "Olá", "edited_at": int(NOW.timestamp()) + 5}
    edited = take(session, InboundMessage(**changed))
    assert edited is not None
    assert (edited.news, edited.text) == (News.EDITED, "Olá")
    assert take(session, InboundMessage(**changed)) is None
    assert database.one("select body from messages") == "Olá"
    assert len(marks(database, "edit")) == 1


def test_it_keeps_what_was_deleted(session: UUID, database: Database) -> None:
    message = said("apague isso")
    note(session, message.id, "revoke")
    take(session, message)
    note(session, message.id, "revoke")
    assert database.one("select body from messages") == "apague isso"
    assert len(marks(database, "revoke")) == 1


def test_it_counts_the_votes_and_receipts_of_each_in_a_group(session: UUID, database: Database) -> None:
    poll = said(chat=GROUP, type="poll_creation", from_me=True)
    take(session, poll)
    note(session, poll.id, "vote", ANA, 1, options=["Sim"])
    note(session, poll.id, "vote", LID, 1, options=["Não"])
    note(session, poll.id, "vote", ANA, 2, options=["Não"])
    assert [value["options"] for _, value in marks(database, "vote")] == [["Não"], ["Não"]]
    with transaction(SYSTEM) as tx:
        for participant, ack in ((ANA, 3), (ANA, 2), (LID, 2)):
            annotations.store_receipt(tx, session, poll.id, participant, ack, NOW)
    assert sorted(value["ack"] for _, value in marks(database, "receipt")) == [2, 3]


def test_it_reads_what_could_not_be_read_at_first(session: UUID, database: Database) -> None:
    first = said("", type="ciphertext")
    take(session, first)
    readable = InboundMessage(**{**vars(first), "type": "chat", "body": "SAIR"})
    taken = take(session, readable)
    assert taken is not None, "rules are to see what it says"
    assert (taken.text, taken.kind, taken.phone) == ("SAIR", "chat", ANA.removesuffix("@c.us"))
    assert take(session, first) is None
    assert take(session, readable) is None
    assert database.execute("select kind, body from messages") == [("chat", "SAIR")]
    assert database.one("select unread from contacts") == 1
    assert database.one("select trigger_word from opt_outs") == "SAIR"


NAMES = (f"{ANA}_3EB0AB_out", f"{LID}_3EB0AB_out", f"{ANA}_3EB0AB")


@pytest.mark.parametrize("later", NAMES)
def test_it_knows_a_message_under_each_of_its_names(session: UUID, database: Database, later: str) -> None:
    first = said("Olá", from_me=True, id=f"true_{NAMES[0]}")
    assert take(session, first) is not None
    again = said("Olá", later.split("_")[0], from_me=True, id=f"true_{later}")
    assert take(session, again) is None
    with transaction(SYSTEM) as tx:
        acknowledgements.acknowledge(tx, session, f"true_{later}", 3, NOW)
    note(session, f"true_{later}", "reaction", emoji="👍")
    note(session, f"true_{NAMES[0]}", "reaction", at=1, emoji="❤️")
    assert database.execute("select wpp_id, ack, state from messages") == [(first.id, 3, "read")]
    assert database.execute("select wpp_id, value ->> 'emoji' from message_annotations") == [(first.id, "❤️")]
    assert database.one("select count(*) from pending_acks") == 0


def test_it_lets_a_message_have_the_ack_that_came_first_under_another_name(session: UUID, database: Database) -> None:
    with transaction(SYSTEM) as tx:
        acknowledgements.acknowledge(tx, session, f"true_{NAMES[1]}", 2, NOW)
    take(session, said("Olá", from_me=True, id=f"true_{NAMES[0]}"))
    assert database.execute("select ack, state from messages") == [(2, "delivered")]


def test_it_keeps_apart_who_wrote_what_and_one_message_from_another(session: UUID, database: Database) -> None:
    for one in (f"true_{ANA}_3EB0AB_out", f"false_{ANA}_3EB0AB", f"false_{ANA}_3EB0AC", "call_1", "call_2"):
        assert take(session, said(id=one, from_me=one.startswith("true"))) is not None
    assert database.one("select count(*) from messages") == 5


def test_it_calls_a_channel_and_a_list_no_group(session: UUID, database: Database) -> None:
    for address in ("120363000000000001@g.us", "120363000000000001@newsletter", "1234@broadcast"):
        take(session, said(chat=address, author=ANA, pushname="Loja"))
    assert database.execute(
        "select address, is_group, unread from contacts where last_message_at is not null order by 1"
    ) == [
        ("120363000000000001@g.us", True, 1),
        ("120363000000000001@newsletter", False, 0),
        ("1234@broadcast", False, 0),
    ]
