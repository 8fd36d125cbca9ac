"""What the page "Meu WhatsApp" asks after another phone was paired."""

import pytest
from streamlit.testing.v1 import AppTest

from services.accounts import sign_in
from services.db.actor import Actor
from services.fleet import own_number
from services.messaging import outbox
from tests.support.databases import Database
from tests.support.pages import texts_of
from tests.support.sessions import connected
from ui.shell import guard


def page() -> None:
    from ui.my_session import number_change
    from ui.shell.guard import guard

    number_change.show_number_change(guard())


def drawn(actor: Actor) -> AppTest:
    at = AppTest.from_function(page, default_timeout=30)
    assert actor.user_id is not None
    at.session_state[guard.SIGN_IN] = sign_in.open_sign_in(actor.user_id)
    at.run()
    assert not at.exception
    return at


@pytest.fixture
def owner(user: Actor, database: Database) -> Actor:
    connected(database, user)
    outbox.queue(user, "11987654321", "Olá", "key")
    database.execute("update whatsapp_sessions set phone_number = '5511987650009'")
    return user


def test_it_says_what_waits_and_lets_it_go_on(owner: Actor, database: Database) -> None:
    at = drawn(owner)
    said = texts_of(at)
    assert "Este é outro número." in said
    assert "Antes: +55 11 99999-0000" in said
    assert "1 mensagens na fila" in said
    at.button("number_continue").click().run()
    assert own_number.get_change(owner) is None
    assert database.one("select state from messages") == "queued"


def test_it_asks_before_it_drops(owner: Actor) -> None:
    at = drawn(owner)
    at.button("number_drop").click().run()
    assert own_number.get_change(owner) is not None
    assert at.button("confirm_yes").label == "Descartar"
