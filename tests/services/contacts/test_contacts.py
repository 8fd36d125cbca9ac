"""A contact's card: what its owner writes on it, within bounds, and what stays."""

from uuid import UUID

import pytest

from services.contacts import contacts
from services.contacts.contacts import ContactTooLong
from services.db.actor import Actor
from services.errors import InvalidInput, NotFound
from tests.support.databases import Database
from tests.support.sessions import connected


@pytest.fixture
def ana(database: Database, user: Actor) -> UUID:
    session_id = connected(database, user)
    found: UUID = database.one(
        "select app.get_or_create_contact(%s, '5511987654321@c.us', '5511987654321', null, false)", session_id
    )
    return found


def test_it_keeps_what_its_owner_writes(user: Actor, ana: UUID) -> None:
    contacts.save(user, ana, "  Ana \0 Souza ", "gosta de azul\n", [" vip", "vip", "", "São Paulo"])
    found = contacts.get(user, ana)
    assert (found.name, found.notes, found.labels) == ("Ana Souza", "gosta de azul", ("vip", "São Paulo"))
    contacts.save(user, ana, "", "", [])
    assert contacts.get(user, ana).name is None


@pytest.mark.parametrize(
    ("name", "notes", "labels"),
    [
        ("x" * (contacts.MAX_NAME_LENGTH + 1), "", []),
        ("", "x" * (contacts.MAX_NOTES_LENGTH + 1), []),
        ("", "", ["x" * (contacts.MAX_LABEL_LENGTH + 1)]),
        ("", "", [str(number) for number in range(contacts.MAX_LABELS + 1)]),
    ],
)
def test_it_refuses_what_is_too_long(user: Actor, ana: UUID, name: str, notes: str, labels: list[str]) -> None:
    with pytest.raises(ContactTooLong):
        contacts.save(user, ana, name, notes, labels)


def test_it_notes_an_opt_out_once(user: Actor, ana: UUID, database: Database) -> None:
    contacts.opt_out(user, ana)
    contacts.opt_out(user, ana)
    assert contacts.get(user, ana).opted_out
    assert database.execute("select phone, trigger_word from opt_outs") == [("5511987654321", None)]
    group = database.one("select app.get_or_create_contact(session_id, '1@g.us', null, null, true) from contacts")
    with pytest.raises(InvalidInput):
        contacts.opt_out(user, group)


def test_it_knows_nobody_who_is_not_there(user: Actor) -> None:
    with pytest.raises(NotFound):
        contacts.get(user, UUID(int=1))
    with pytest.raises(NotFound):
        contacts.block(user, UUID(int=1))
