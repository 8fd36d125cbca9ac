"""Conversations as people read them: their own only, newest first, found by any word; staff through broken glass."""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from services.contacts import contacts
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.errors import InvalidInput, NotFound, ServiceError
from services.inbound import annotations, conversation_actions, conversations, ingest
from services.messaging import delivery, outbox
from services.messaging.attempt import deliver
from services.platform import media_store
from services.security import break_glass
from services.security.break_glass import Scope
from services.wppconnect.events import Annotation, InboundMessage
from tests.support.databases import Database
from tests.support.sandbox_control import SandboxControl
from tests.support.sessions import connected

NOW = datetime.now(UTC)
NUMBERS = itertools.count(1)
REASON = "chamado 4711, a pessoa pediu ajuda"


def take(session: UUID, text: str, phone: str = "5511987654321", ago: int = 0, **more: Any) -> InboundMessage:
    chat = f"{phone}@c.us" if "@" not in phone else phone
    made = {
        "id": f"false_{chat}_3EB0{next(NUMBERS):06}",
        "from_": chat,
        "to": None,
        "chat_id": chat,
        "type": "chat",
        "body": text,
        "timestamp": int((NOW - timedelta(minutes=ago)).timestamp()),
        "pushname": "Ana",
    }
    message = InboundMessage(**{**made, **more})
    with transaction(SYSTEM) as tx:
        ingest.ingest_message(tx, session, message, NOW)
    return message


def mark(session: UUID, about: str, kind: Any, who: str, **value: Any) -> None:
    with transaction(SYSTEM) as tx:
        annotations.store_annotation(tx, session, Annotation(about, kind, who, int(NOW.timestamp() * 1000), value), NOW)


@pytest.fixture
def session(database: Database, user: Actor) -> UUID:
    return connected(database, user)


def contact_of(actor: Actor) -> UUID:
    return conversations.list_chats(actor).chats[0].contact.id


def bodies(thread: conversations.Thread) -> list[str]:
    return [bubble.message.body for bubble in thread.messages]


def test_it_lists_chats_newest_first_page_by_page(session: UUID, user: Actor) -> None:
    for number in range(conversations.CHATS_PAGE_SIZE + 3):
        take(session, f"n{number}", f"55119876{number:05}", ago=number)
    first = conversations.list_chats(user)
    assert [chat.last and chat.last.text for chat in first.chats] == [
        f"n{n}" for n in range(conversations.CHATS_PAGE_SIZE)
    ]
    second = conversations.list_chats(user, after=first.after)
    assert [chat.last and chat.last.text for chat in second.chats] == ["n30", "n31", "n32"]
    assert second.after is None


@pytest.mark.parametrize("typed", ["bia", "98765-0002", "VIP", "  Bia "])
def test_it_finds_chats_by_name_number_or_label(session: UUID, user: Actor, typed: str) -> None:
    take(session, "oi", "5511987650001", pushname="Ana")
    take(session, "oi", "5511987650002", pushname="Bia")
    bia = conversations.list_chats(user, "Bia").chats[0].contact
    contacts.save(user, bia.id, "Bia", "", ["vip"])
    assert [chat.contact.id for chat in conversations.list_chats(user, typed).chats] == [bia.id]
    assert conversations.list_chats(user, "%").chats == []


def test_it_shows_a_thread_by_when_things_were_said(session: UUID, user: Actor) -> None:
    for text, ago in (("três", 1), ("um", 9), ("dois", 5)):
        take(session, text, ago=ago)
    found = conversations.get_thread(user, contact_of(user), limit=2)
    assert (bodies(found), found.more) == (["dois", "três"], True)
    assert conversations.count_pages_to(user, found.messages[0].message.id) == 1
    whole = conversations.get_thread(user, contact_of(user))
    assert (bodies(whole), whole.more) == (["um", "dois", "três"], False)


def test_it_shows_what_became_of_messages_and_what_they_answer(session: UUID, user: Actor) -> None:
    first = take(session, "Vamos?", ago=3)
    take(session, "Então?", ago=2, quoted_id=first.id)
    mark(session, first.id, "reaction", "them", emoji="👍")
    mark(session, first.id, "reaction", "me", emoji="👍")
    mark(session, first.id, "revoke", "them")
    one, two = conversations.get_thread(user, contact_of(user)).messages
    assert (one.annotations.reactions, one.annotations.mine, one.annotations.revoked_at is not None) == (
        {"👍": 2},
        "👍",
        True,
    )
    assert two.quoted is not None
    assert (two.quoted.text, two.quoted.outgoing) == ("Vamos?", False)


def test_it_opens_read_and_counts_only_what_came_since(session: UUID, user: Actor) -> None:
    take(session, "um")
    take(session, "dois")
    contact = contact_of(user)
    assert conversations.list_chats(user).chats[0].contact.unread == 2
    contacts.mark_read(user, contact)
    take(session, "três")
    assert conversations.list_chats(user).chats[0].contact.unread == 1


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("orcamento", ["O orçamento da mudança"]),
        ("ORÇAMENTOS", ["O orçamento da mudança"]),
        ("orçam", ["O orçamento da mudança"]),
        ('"da mudanca"', ["O orçamento da mudança"]),
        ("orçamento -mudança", []),
        ("a", []),
        ("de", []),
        ("o'rly \\ & | ! :*", []),
        ("\0", []),
    ],
)
def test_it_searches_in_portuguese_with_or_without_accents(
    session: UUID, user: Actor, typed: str, found: list[str]
) -> None:
    take(session, "O orçamento da mudança")
    take(session, "Bom dia")
    assert [one.text for one in conversations.search_messages(user, typed)] == found


def test_it_says_who_wrote_what_it_found_in_a_group(session: UUID, user: Actor) -> None:
    group = "120363000000000001@g.us"
    take(session, "segredo da Bia", chat_id=group, is_group=True, author="223344556677889@lid", pushname="Bia")
    take(session, "segredo sem grupo")
    found = conversations.search_messages(user, "segredo")
    assert {one.text: one.author for one in found} == {"segredo da Bia": "Bia", "segredo sem grupo": None}


def test_it_shows_each_user_their_own_and_nobody_elses(
    session: UUID, database: Database, user: Actor, new_actor: Callable[..., Actor]
) -> None:
    other = new_actor()
    connected(database, other)
    take(session, "segredo de um")
    contact = contact_of(user)
    message = conversations.get_thread(user, contact).messages[0].message.id
    assert conversations.list_chats(other).chats == []
    assert conversations.list_chats(other, whose=user.user_id).chats == []
    assert conversations.search_messages(other, "segredo") == []
    assert conversations.search_messages(other, "segredo", whose=user.user_id) == []
    refused: list[Callable[[], object]] = [
        lambda: conversations.get_thread(other, contact),
        lambda: contacts.save(other, contact, "x", "", []),
        lambda: contacts.block(other, contact),
        lambda: contacts.opt_out(other, contact),
        lambda: conversation_actions.reply(other, contact, "oi", "key"),
        lambda: conversation_actions.react(other, message, "👍"),
        lambda: conversation_actions.request_file(other, message),
    ]
    for attempt in refused:
        with pytest.raises(NotFound):
            attempt()
    contacts.mark_read(other, contact)
    assert database.one("select unread from contacts") == 1


def test_it_opens_a_users_chats_to_staff_only_while_the_glass_is_broken(
    session: UUID, database: Database, user: Actor, staff: Actor
) -> None:
    assert user.user_id is not None
    kept = media_store.save(user, b"a picture", "image/png")
    take(session, "segredo")
    contact = contact_of(user)

    def seen() -> tuple[int, int]:
        chats = conversations.list_chats(staff, whose=user.user_id).chats
        return len(chats), len(conversations.search_messages(staff, "segredo", whose=user.user_id))

    break_glass.grant_access(staff, user.user_id, Scope.QR, REASON)
    assert seen() == (0, 0)
    opened = break_glass.grant_access(staff, user.user_id, Scope.CHATS, REASON)
    assert seen() == (1, 1)
    assert bodies(conversations.get_thread(staff, contact)) == ["segredo"]
    assert media_store.read(staff, kept.sha256, user.user_id) == b"a picture"
    contacts.mark_read(staff, contact)
    assert database.one("select unread from contacts") == 1
    for attempt in (
        lambda: contacts.block(staff, contact),
        lambda: conversation_actions.reply(staff, contact, "oi", "key"),
    ):
        with pytest.raises(ServiceError):
            attempt()
    break_glass.end_access(staff, opened.id)
    assert seen() == (0, 0)
    with pytest.raises(NotFound):
        conversations.get_thread(staff, contact)


def test_it_replies_to_a_message(session: UUID, user: Actor, database: Database) -> None:
    first = take(session, "Pode ser às 5?", "5511987654321", ago=1)
    contact = contact_of(user)
    conversation_actions.reply(user, contact, "Pode!", "key", first.id)
    answer = conversations.get_thread(user, contact).messages[-1]
    assert answer.quoted is not None
    assert (answer.message.body, answer.quoted.text) == ("Pode!", "Pode ser às 5?")
    contacts.block(user, contact)
    with pytest.raises(conversation_actions.CannotReply):
        conversation_actions.reply(user, contact, "Pode!", "other key")


def test_it_replies_in_a_group_and_not_in_a_channel(sender: Actor, control: SandboxControl, database: Database) -> None:
    session = database.one("select id from whatsapp_sessions where user_id = %s", sender.user_id)
    group = "120363000000000001@g.us"
    written = control.inbound(f"user_{sender.user_id}", "5511987654321", "Quem vem?", group=group)
    first = take(session, "Quem vem?", group, id=written["id"], sender_id="5511987654321@c.us")
    contact = contact_of(sender)
    conversation_actions.reply(sender, contact, "Eu!", "key", first.id)
    (claimed,), _seen = delivery.claim_lanes(10)
    deliver(claimed)
    (told,) = control.sent(f"user_{sender.user_id}")
    assert (told["body"], told["to"]) == ("Eu!", "120363000000000001@g.us")
    assert [bubble.message.body for bubble in conversations.get_thread(sender, contact).messages] == [
        "Quem vem?",
        "Eu!",
    ]
    assert database.execute("select phone, is_group from contacts") == [(None, True)]
    take(session, "Oferta!", "120363000000000002@newsletter", ago=1)
    channel, is_group = database.execute("select id, is_group from contacts where address like '%%newsletter'")[0]
    assert not is_group
    with pytest.raises(conversation_actions.CannotReply):
        conversation_actions.reply(sender, channel, "oi", "other key")


@pytest.mark.parametrize("wrote_from", ["5215512345678@c.us", "22507123456@c.us", "552098765002@c.us"])
def test_it_replies_to_an_address_that_only_whatsapp_knows(
    sender: Actor, control: SandboxControl, database: Database, wrote_from: str
) -> None:
    session = database.one("select id from whatsapp_sessions where user_id = %s", sender.user_id)
    take(session, "oi", wrote_from)
    conversation_actions.reply(sender, contact_of(sender), "Olá!", "key")
    (claimed,), _seen = delivery.claim_lanes(10)
    assert claimed.address == wrote_from
    deliver(claimed)
    assert [told["to"] for told in control.sent(f"user_{sender.user_id}")] == [wrote_from]
    assert len(conversations.list_chats(sender).chats) == 1


def test_it_replies_to_somebody_without_a_number(sender: Actor, control: SandboxControl, database: Database) -> None:
    session = database.one("select id from whatsapp_sessions where user_id = %s", sender.user_id)
    control.fault("lid_without_phone")
    lid = control.inbound(f"user_{sender.user_id}", "5511987650025", "oi")["from"]
    take(session, "oi", lid)
    conversation_actions.reply(sender, contact_of(sender), "Olá!", "key")
    (claimed,), _seen = delivery.claim_lanes(10)
    deliver(claimed)
    assert [told["to"] for told in control.sent(f"user_{sender.user_id}")] == [lid]


def test_it_reacts_through_whatsapp_and_shows_it(sender: Actor, control: SandboxControl, database: Database) -> None:
    session = database.one("select id from whatsapp_sessions where user_id = %s", sender.user_id)
    written = control.inbound(f"user_{sender.user_id}", "5511987654321", "oi")
    take(session, "oi", id=written["id"])
    bubble = conversations.get_thread(sender, contact_of(sender)).messages[0]
    for emoji in ("👍", "❤️", ""):
        conversation_actions.react(sender, bubble.message.id, emoji)
        assert conversations.get_thread(sender, contact_of(sender)).messages[0].annotations.mine == emoji
    with pytest.raises(InvalidInput):
        conversation_actions.react(sender, bubble.message.id, "x")
    waiting = outbox.queue(sender, "(11) 98765-4321", "oi", "key").id
    with pytest.raises(conversation_actions.CannotReact):
        conversation_actions.react(sender, waiting, "👍")


def test_it_opens_a_thread_and_searches_by_index(session: UUID, user: Actor, database: Database) -> None:
    take(session, "agulha")
    contact = contact_of(user)
    database.execute(
        "insert into messages (session_id, user_id, contact_id, direction, state, phone, body)"
        " select session_id, user_id, case when n % 100 = 0 then contact_id end, 'in', 'received', phone,"
        "   'palha ' || n from messages, generate_series(1, 20000) n"
    )
    database.execute("analyze messages")
    plans = {
        "messages_of_contact": "select * from messages where contact_id = %s order by occurred_at desc,"
        " seq desc limit 40",
        "messages_words": "select * from messages where user_id = %s and body <> ''"
        " and app.get_search_words(body) @@ to_tsquery('portuguese', 'agulha')",
    }
    for index, query in plans.items():
        plan = database.execute(f"explain {query}", contact if "contact" in index else user.user_id)
        assert any(index in line for (line,) in plan), plan
    assert [one.text for one in conversations.search_messages(user, "agulhas")] == ["agulha"]
