"""Who asked for silence, and who took it back: for a person, whatever address or spelling they are known by."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import permutations
from random import Random
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import Connection

from services.contacts import contacts, opt_outs
from services.db.actor import SYSTEM, Actor, Role
from services.db.engine import transaction
from services.errors import Forbidden, InvalidInput, NotFound
from services.security import break_glass
from services.wppconnect import phone
from tests.support.databases import Database
from tests.support.sessions import connected

LONG, SHORT = "5511987654321", "551187654321"
LID = "667788990011223@lid"
T = datetime(2024, 11, 28, 12, tzinfo=UTC)
# Each line as its owner's list may have it, and as WhatsApp may write it.
LINES = [
    (LONG, SHORT),
    ("541123456789", "5491123456789"),
    ("5491123456789", "541123456789"),
    ("525512345678", "5215512345678"),
    ("5215512345678", "525512345678"),
]


class Person:
    """Somebody who writes to the session of `owner`, under any of their addresses."""

    def __init__(self, tx: Connection, session_id: UUID, owner: UUID, phone: str | None = LONG) -> None:
        self.tx, self.session_id, self.owner, self.phone = tx, session_id, owner, phone

    def contact(self, *names: str, at: datetime = T) -> UUID:
        digits = next((name for name in names if "@" not in name), None)
        lid = next((name for name in names if name.endswith("@lid")), None)
        address = f"{digits}@c.us" if digits else lid or ""
        found = self.tx.exec_driver_sql(
            "select app.get_or_create_contact(%s, %s, %s, %s, false, %s)", (self.session_id, address, digits, lid, at)
        ).scalar_one()
        assert isinstance(found, UUID)
        return found

    def says(self, word: str, at: datetime, *names: str) -> None:
        note = opt_outs.record_return if word == "VOLTAR" else opt_outs.record_word
        note(self.tx, self.contact(*names), word, at)

    def silent(self, *addresses: str) -> set[str]:
        return opt_outs.find_opted_out(self.tx, self.owner, addresses)


@pytest.fixture
def session_id(database: Database, user: Actor) -> UUID:
    return connected(database, user)


@contextmanager
def somebody(user: Actor, session_id: UUID, *, kept: bool = True) -> Iterator[Person]:
    assert user.user_id is not None
    with transaction(SYSTEM) as tx, tx.begin_nested() as part:
        yield Person(tx, session_id, user.user_id)
        if not kept:
            part.rollback()


# --- one line, one person ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("listed", "written"), LINES)
def test_it_holds_for_a_line_however_it_is_spelt(user: Actor, session_id: UUID, listed: str, written: str) -> None:
    with somebody(user, session_id) as person:
        person.says("SAIR", T, written)
        assert person.silent(listed, written, f"{listed}@c.us", "5511900000000") == {listed, written, f"{listed}@c.us"}
        assert person.silent() == set()


def test_it_was_said_to_one_sender_not_to_all(user: Actor, new_actor: Callable[..., Actor]) -> None:
    opt_outs.add(user, LONG)
    assert opt_outs.filter_opted_out(user, [SHORT]) == {SHORT}
    assert opt_outs.filter_opted_out(new_actor(), [LONG]) == set()


@pytest.mark.parametrize("later", [(LONG, LID), (LID, LONG)])
def test_it_holds_for_the_number_that_is_learnt_later(user: Actor, session_id: UUID, later: tuple[str, ...]) -> None:
    with somebody(user, session_id) as person:
        person.says("SAIR", T, LID)
        assert person.silent(LID, LONG) == {LID}
        person.contact(*later)
        assert person.silent(LID, LONG, SHORT) == {LID, LONG, SHORT}


def test_it_holds_for_both_of_two_contacts_that_become_one(user: Actor, session_id: UUID) -> None:
    with somebody(user, session_id) as person:
        person.contact(LONG)
        person.says("SAIR", T, LID)
        assert person.silent(LONG) == set()
        person.contact(LONG, LID)
        assert person.silent(LONG, LID) == {LONG, LID}
        assert person.contact(LONG) == person.contact(LID)


def test_it_goes_along_with_a_person_and_stays_with_the_number(user: Actor, session_id: UUID) -> None:
    with somebody(user, session_id) as person:
        person.contact(LONG, LID)
        person.says("SAIR", T, LONG)
        person.contact("5521912345678", LID, at=T + timedelta(days=1))
        assert person.silent(LONG, LID, "5521912345678") == {LONG, LID, "5521912345678"}


def test_it_joins_the_newest_word_of_each(user: Actor, session_id: UUID) -> None:
    with somebody(user, session_id) as person:
        person.says("SAIR", T, LID)
        person.says("VOLTAR", T + timedelta(minutes=1), LONG)
        assert person.silent(LONG, LID) == {LID}
        person.contact(LONG, LID)
        assert person.silent(LONG, LID) == set()


NAMES = [(LONG,), (SHORT,), (LID,), (LONG, LID), (SHORT, LID)]


@given(
    words=st.lists(st.sampled_from(["SAIR", "VOLTAR"]), min_size=1, max_size=5),
    names=st.lists(st.sampled_from(NAMES), min_size=5, max_size=5),
    order=st.randoms(use_true_random=False),
)
@examples(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_newest_word_counts_whatever_comes_first(
    user: Actor, session_id: UUID, words: list[str], names: list[tuple[str, ...]], order: Random
) -> None:
    said = [(word, T + timedelta(minutes=minute), names[minute]) for minute, word in enumerate(words)]
    order.shuffle(said)
    with somebody(user, session_id, kept=False) as person:
        for word, at, called in said:
            person.says(word, at, *called)
        person.contact(LONG, LID)
        silent = person.silent(LONG, SHORT, LID)
    assert silent == ({LONG, SHORT, LID} if words[-1] == "SAIR" else set())


def test_of_two_words_of_one_second_the_later_to_come_counts(user: Actor, session_id: UUID) -> None:
    with somebody(user, session_id) as person:
        for word, silent in (("SAIR", {LONG}), ("VOLTAR", set()), ("SAIR", {LONG})):
            person.says(word, T, LONG)
            assert person.silent(LONG) == silent


# --- what reports count -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(permutations([("VOLTAR", 1, (LONG,)), ("SAIR", 0, (LID,)), (None, 2, ())])))
def test_a_person_is_counted_once(
    user: Actor, session_id: UUID, database: Database, order: list[tuple[str | None, int, tuple[str, ...]]]
) -> None:
    with somebody(user, session_id) as person:
        for word, minute, names in order:
            if word is None:
                person.contact(LONG, LID)
            else:
                person.says(word, T + timedelta(minutes=minute), *names)
    assert database.one("select count(*) from opt_outs where said_at is not null and not copied") == 1
    assert database.one("select count(*) from opt_outs where ended_at is null") == 0


# --- what its owner does ----------------------------------------------------------------------------------------------


def test_it_lets_the_owner_note_it_for_them(user: Actor, database: Database) -> None:
    assert opt_outs.add(user, "(11) 98765-4321")
    assert not opt_outs.add(user, "11 98765 4321")
    assert database.execute("select phone, trigger_word from opt_outs") == [(LONG, None)]
    assert opt_outs.add(user, LID)
    assert [(one.phone, one.word) for one in opt_outs.list_page(user).items] == [(LID, None), (LONG, None)]


def test_it_asks_for_ten_thousand_in_one_statement(user: Actor) -> None:
    opt_outs.add(user, LONG)
    phones = [str(5511900000000 + number) for number in range(10_000)]
    assert opt_outs.filter_opted_out(user, [*phones, SHORT]) == {SHORT}


def test_a_slip_is_undone_on_the_record(user: Actor, session_id: UUID, database: Database) -> None:
    with somebody(user, session_id) as person:
        person.contact(LONG, LID)
        person.says("SAIR", T, LID)
    with pytest.raises(InvalidInput):
        opt_outs.end(user, LONG, " ?? ")
    opt_outs.end(user, "(11) 8765-4321", "falava da consulta")
    assert opt_outs.filter_opted_out(user, [LONG, LID]) == set()
    assert database.execute("select distinct ended_by, ended_reason from opt_outs") == [
        (user.user_id, "falava da consulta")
    ]
    assert database.execute("select actor_id, action, subject, detail from audit_log where action = 'opt_out.end'") == [
        (user.user_id, "opt_out.end", f"user_{user.user_id}", {"whose": "…4321", "reason": "falava da consulta"})
    ]
    with pytest.raises(NotFound):
        opt_outs.end(user, LONG, "falava da consulta")


def test_what_was_undone_stays_so_until_they_ask_again(user: Actor, session_id: UUID) -> None:
    with somebody(user, session_id) as person:
        person.says("SAIR", T, LONG)
    opt_outs.end(user, LONG, "falava da consulta")
    with somebody(user, session_id) as person:
        person.says("SAIR", T, LONG)
        assert person.silent(LONG) == set()
        # Said before it was undone, but come only afterwards: who undid the other word did not know of it.
        person.says("SAIR", T + timedelta(seconds=1), LONG)
        assert person.silent(LONG) == {LONG}


def test_an_argentine_is_undone_as_the_list_writes_them(user: Actor, session_id: UUID) -> None:
    with somebody(user, session_id) as person:
        person.says("SAIR", T, "5491123456789")
    (listed,) = opt_outs.list_page(user).items
    opt_outs.end(user, listed.phone, "falava da consulta")
    assert opt_outs.list_page(user).items == []


def test_only_its_owner_or_an_admin_behind_broken_glass_undoes_it(
    user: Actor, session_id: UUID, new_actor: Callable[..., Actor]
) -> None:
    opt_outs.add(user, LONG)
    operator, admin = new_actor(Role.OPERATOR), new_actor(Role.ADMIN)
    for other in (new_actor(), operator):
        with pytest.raises(Forbidden):
            opt_outs.end(other, LONG, "falava da consulta", user.user_id)
    with pytest.raises(Forbidden):
        opt_outs.end(admin, LONG, "falava da consulta", user.user_id)
    assert user.user_id is not None
    break_glass.grant_access(admin, user.user_id, "chats", "pedido do cliente 4711")
    opt_outs.end(admin, LONG, "falava da consulta", user.user_id)
    assert opt_outs.filter_opted_out(user, [LONG]) == set()


def test_a_contact_without_a_number_is_silenced_by_its_owner(user: Actor, session_id: UUID) -> None:
    with somebody(user, session_id) as person:
        contact = person.contact(LID)
    contacts.opt_out(user, contact)
    assert contacts.get(user, contact).opted_out
    assert opt_outs.filter_opted_out(user, [LID]) == {LID}
    with somebody(user, session_id) as person:
        person.contact(LONG, LID)
    assert opt_outs.filter_opted_out(user, [LONG]) == {LONG}
    assert [one.phone for one in opt_outs.list_page(user).items] == [LONG], "its number stands for it"


def test_the_list_is_paged_and_searched(user: Actor, session_id: UUID, database: Database) -> None:
    with somebody(user, session_id) as person:
        for number in range(7):
            person.says("SAIR", T + timedelta(minutes=number // 2), str(5511980000000 + number))
        person.says("VOLTAR", T + timedelta(days=1), "5511980000006")
    database.execute("update contacts set name = 'Bia 100%%' where phone = '5511980000002'")
    first = opt_outs.list_page(user, limit=4)
    assert first.total == 6
    assert first.after is not None
    rest = opt_outs.list_page(user, after=first.after, limit=4)
    assert rest.after is None
    assert [one.phone[-1] for one in first.items + rest.items] == ["5", "4", "3", "2", "1", "0"]
    for search in ("bia 100%", "8000-0002", "(11) 98000-0002", "+55 11 8000 0002", "551180000002"):
        assert [one.phone for one in opt_outs.list_page(user, search).items] == ["5511980000002"], search
    assert opt_outs.list_page(user, "ninguém").total == 0


@pytest.mark.parametrize(
    ("digits", "ways"),
    [
        (LONG, (LONG, SHORT)),
        (SHORT, (SHORT, LONG)),
        ("551133334444", ("551133334444",)),
        ("14155550100", ("14155550100",)),
    ],
)
def test_a_line_is_spelt_in_one_way_or_two(digits: str, ways: tuple[str, ...]) -> None:
    assert phone.list_spellings(digits) == ways
