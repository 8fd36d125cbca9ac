"""Who is meant by an address: one person under all of theirs, and nobody else's conversation with a number."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.wppconnect.phone import get_address_key
from tests.support.databases import Database
from tests.support.sessions import connected

ANA, ANA_LID = "5511987654321", "111222333444555@lid"
EVA_LID = "999888777666555@lid"
NEW_NUMBER = "5511912345678"
NOW = datetime(2024, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def session(database: Database, user: Actor) -> UUID:
    return connected(database, user)


def tell(
    session: UUID, phone: str | None, lid: str | None, hours: float | None = 0, address: str | None = None
) -> UUID:
    """WhatsApp names somebody, `hours` after NOW; None: it does not say when."""
    said = None if hours is None else NOW + timedelta(hours=hours)
    named = {"s": session, "a": address or lid or f"{phone}@c.us", "p": phone, "l": lid, "t": said}
    with transaction(SYSTEM) as tx:
        asked = "select app.get_or_create_contact(:s, :a, :p, :l, false, :t)"
        contact: UUID = tx.execute(text(asked), named).scalar_one()
    return contact


def list_contacts(database: Database) -> list[tuple[Any, ...]]:
    return database.execute("select phone, lid from contacts order by created_at, id")


addresses = st.one_of(
    st.from_regex(r"\A(55[1-9][1-9]9?[6-9][0-9]{7}|549?[0-9]{10}|521?[0-9]{10}|[0-9]{5,16})"
                  r"(\.[0-9])?(:[0-9]{1,2})?(@(c\.us|s\.whatsapp\.net|lid|g\.us|newsletter))?\Z"),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(addresses, min_size=20, max_size=40))
def test_it_says_the_same_in_sql_and_in_python(database: Database, some: list[str]) -> None:
    keys = database.execute(
        "select app.get_address_key(x) from unnest(%s::text[]) with ordinality u (x, n) order by n", some
    )
    assert [key for (key,) in keys] == [get_address_key(address) for address in some]


@pytest.mark.parametrize(
    "spellings",
    [
        ("5511987654321", "551187654321"),
        ("5491123456789", "541123456789"),
        ("5215512345678", "525512345678"),
    ],
)
def test_it_knows_one_line_in_both_spellings(session: UUID, database: Database, spellings: tuple[str, str]) -> None:
    first, second = (tell(session, phone, None) for phone in spellings)
    assert first == second
    assert database.one("select count(*) from contacts") == 1


def test_it_joins_a_number_and_a_lid_that_are_told_together_in_any_order(session: UUID, database: Database) -> None:
    by_phone, by_lid = tell(session, ANA, None), tell(session, None, ANA_LID)
    assert by_phone != by_lid
    assert tell(session, ANA, ANA_LID) == by_phone
    assert tell(session, None, ANA_LID) == by_phone
    assert list_contacts(database) == [(ANA, ANA_LID)]


def test_it_leaves_a_conversation_with_whoever_had_the_number(session: UUID, database: Database) -> None:
    """The number passed to a stranger: what was said before is not theirs to see, nor is what they say Ana's."""
    ana = tell(session, ANA, ANA_LID, 0)
    eva = tell(session, ANA, EVA_LID, 1)
    assert eva != ana
    assert tell(session, ANA, None, 2) == eva, "the number means whoever has it now"
    assert tell(session, None, ANA_LID, 2) == ana
    assert list_contacts(database) == [(None, ANA_LID), (ANA, EVA_LID)]


def test_it_takes_no_old_word_for_a_new_one(session: UUID, database: Database) -> None:
    eva = tell(session, ANA, EVA_LID, 1)
    ana = tell(session, ANA, ANA_LID, 0)
    assert tell(session, ANA, None) == eva
    assert tell(session, ANA, "777@lid", None) != eva, "nobody knows when that was said"
    assert tell(session, ANA, None) == eva
    assert database.execute("select phone, lid from contacts where id = %s", ana) == [(None, ANA_LID)]


def test_it_follows_a_person_to_another_number(session: UUID, database: Database) -> None:
    ana = tell(session, ANA, ANA_LID, 0, address=f"{ANA}@c.us")
    assert tell(session, NEW_NUMBER, ANA_LID, 1) == ana
    assert tell(session, ANA, None, 2) != ana, "whoever gets the old number is somebody else"
    assert database.execute("select phone, lid, address from contacts where id = %s", ana) == [
        (NEW_NUMBER, ANA_LID, ANA_LID)
    ]


def test_it_gives_a_number_to_whom_it_passed_without_their_old_conversation(session: UUID, database: Database) -> None:
    ana, eva = tell(session, ANA, ANA_LID, 0), tell(session, NEW_NUMBER, EVA_LID, 0)
    assert tell(session, ANA, EVA_LID, 1) == eva
    assert tell(session, None, ANA_LID, 2) == ana
    assert list_contacts(database) == [(None, ANA_LID), (ANA, EVA_LID)]
    stranger = tell(session, NEW_NUMBER, None, 2)
    assert stranger not in (ana, eva)


@pytest.fixture
def written_twice(session: UUID, database: Database, user: Actor) -> tuple[UUID, UUID]:
    """One person in two contacts, each with the same message of hers, with labels, uses of a rule and unread texts."""
    kept, gone = tell(session, ANA, None), tell(session, None, ANA_LID)
    for contact, address, labels in ((kept, f"{ANA}@c.us", ["a"]), (gone, ANA_LID, ["b"])):
        database.execute("update contacts set unread = 1, labels = %s where id = %s", labels, contact)
        database.execute(
            "insert into messages (session_id, user_id, direction, state, phone, kind, body, wpp_id, contact_id) values"
            " (%s, %s, 'in', 'received', %s, %s, %s, %s, %s)",
            session, user.user_id, address.removesuffix("@c.us"), "ciphertext" if contact == kept else "chat",
            "" if contact == kept else "oi", f"false_{address}_3EB0", contact,
        )  # fmt: skip
        database.execute(
            "insert into message_annotations (session_id, wpp_id, kind, author, user_id, occurred_at, value)"
            " values (%s, %s, 'reaction', 'them', %s, now(), jsonb_build_object('emoji', %s::text))",
            session, f"false_{address}_3EB0", user.user_id, address[:2],
        )  # fmt: skip
    return kept, gone


def test_it_makes_one_of_two_and_loses_nothing(
    session: UUID, database: Database, written_twice: tuple[UUID, UUID]
) -> None:
    assert tell(session, ANA, ANA_LID) == written_twice[0]
    assert database.execute("select phone, lid, labels, unread from contacts") == [(ANA, ANA_LID, ["a", "b"], 1)]
    assert database.execute("select kind, body, phone, contact_id from messages") == [
        ("chat", "oi", ANA, written_twice[0])
    ]
    assert database.execute("select value from message_annotations a join messages m using (wpp_id)") == [
        ({"emoji": "11"},)
    ]
    assert sorted(address for (address,) in database.execute("select address from contact_addresses")) == [
        ANA_LID, "551187654321@c.us",
    ]  # fmt: skip
