"""One's own session on the screen: what proved it, how old that is, and why its queue waits."""

from collections.abc import Callable
from uuid import UUID

import pytest
from streamlit.testing.v1 import AppTest

from services.db.actor import Actor
from tests.support.databases import Database
from tests.support.sessions import connected, insert_pairing


def page(user_id: "UUID") -> None:
    import streamlit as st

    from services.db.actor import Role, person
    from services.fleet import session as fleet_session
    from ui.kit import badges
    from ui.my_session import session_card

    actor = person(user_id, Role.USER)
    session = fleet_session.get(actor)
    assert session is not None
    session_card.warn_unreachable(actor, session)
    st.caption(badges.proof_sentence(session.last_proof_at, session.last_proof_kind))


def pairing(user_id: "UUID") -> None:
    from services.db.actor import Role, person
    from services.fleet import session as fleet_session
    from ui.my_session import session_card

    actor = person(user_id, Role.USER)
    session = fleet_session.get(actor)
    assert session is not None
    session_card.show_pairing(actor, session)


def drawn(actor: Actor) -> AppTest:
    at = AppTest.from_function(page, args=(actor.user_id,), default_timeout=30).run()
    assert not at.exception
    return at


def test_it_says_by_what_and_when_a_session_was_proved(user: Actor, database: Database) -> None:
    connected(database, user)
    assert drawn(user).caption[0].value == "Ainda sem prova de vida: vale o que o servidor diz."
    database.execute(
        "update whatsapp_sessions set last_proof_kind = 'question', last_proof_at = now() - interval '125 minutes'"
    )
    assert drawn(user).caption[0].value == "Provado há 2 h, por consulta ao WhatsApp."
    database.execute("update whatsapp_sessions set last_proof_at = now() - interval '11 hours'")
    assert drawn(user).caption[0].value == "Sem prova recente: a última foi há 11 h, por consulta ao WhatsApp."


def test_it_says_to_its_owner_alone_why_the_queue_of_a_dead_session_waits(
    user: Actor, new_actor: Callable[..., Actor], database: Database
) -> None:
    other = new_actor()
    session_id = connected(database, user)
    connected(database, other)
    database.execute(
        "insert into incidents (session_id, user_id, kind, detected_at)"
        " values (%s, %s, 'zombie', now() - interval '3 min')",
        session_id,
        user.user_id,
    )
    (warning,) = drawn(user).warning
    assert "O WhatsApp não responde por esta sessão** (há 3 min)" in warning.value
    assert not drawn(other).warning
    database.execute("update incidents set state = 'healed', ended_at = now()")
    assert not drawn(user).warning


@pytest.mark.parametrize(
    ("phone", "offered"),
    [
        ("553187650032", ["Tentar com +55 31 98765-0032"]),
        ("5531987650032", ["Tentar com +55 31 8765-0032"]),
        ("12025550123", []),
    ],
)
def test_it_offers_the_other_spelling_of_the_number_beside_a_code(
    user: Actor, database: Database, phone: str, offered: list[str]
) -> None:
    insert_pairing(database, user)
    database.execute(
        "update whatsapp_sessions set pairing_phone = %s, phone_code = 'ABCD-1234', phone_code_at = now()", phone
    )
    at = AppTest.from_function(pairing, args=(user.user_id,), default_timeout=30).run()
    assert not at.exception
    assert [button.label for button in at.button if button.key == "other_spelling"] == offered
