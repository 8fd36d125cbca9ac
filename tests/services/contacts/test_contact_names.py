"""Names for the addresses that a group's messages hold."""

from collections.abc import Callable

from services.contacts import contact_names, contacts
from services.db.actor import Actor
from tests.support.databases import Database
from tests.support.sessions import connected

ANA, LID, NOBODY = "5511987654321@c.us", "123456789012345@lid", "5511900000000@c.us"


def test_it_names_ones_own_contacts_by_any_address_and_knows_ones_own_number(
    user: Actor, new_actor: Callable[..., Actor], database: Database
) -> None:
    session_id = connected(database, user)
    database.execute("update whatsapp_sessions set phone_number = '5511988887777'")
    ana = database.one("select app.get_or_create_contact(%s, %s, '5511987654321', %s, false)", session_id, ANA, LID)
    assert user.user_id is not None
    asked = [ANA, "551187654321@c.us", LID, NOBODY, "5511988887777@c.us", "nonsense"]
    assert contact_names.get_names(user, user.user_id, asked).by_address == {}
    contacts.save(user, ana, "Ana", "", [])
    named = contact_names.get_names(user, user.user_id, asked)
    assert named.by_address == {ANA: "Ana", "551187654321@c.us": "Ana", LID: "Ana"}
    assert named.own == {"5511988887777@c.us"}
    assert contact_names.get_names(new_actor(), user.user_id, asked) == contact_names.PeopleNames()
    assert contact_names.get_names(user, user.user_id, []) == contact_names.PeopleNames()
