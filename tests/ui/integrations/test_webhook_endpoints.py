"""What the page "Integrações" says of endpoints that are well, ill and off, and to whom it offers what."""

from collections.abc import Callable

from streamlit.testing.v1 import AppTest

from services.db.actor import Actor, Role
from services.integrations import webhook_endpoints
from services.integrations.webhook_endpoints import EventType
from tests.support.databases import Database
from tests.support.pages import open_tab, texts_of
from tests.support.paths import ROOT

PAGE = ROOT / "pages" / "forwarding.py"
URL = "https://erp.example.com/hook"


def labels(at: AppTest) -> set[str]:
    return {button.label for button in at.button}


def test_it_says_what_an_integration_is_while_there_is_none(user: Actor) -> None:
    at = open_tab(PAGE, user).run()
    assert not at.exception
    assert "Standard Webhooks" in texts_of(at)
    assert [one.label for one in at.text_input] == ["Endereço do seu sistema"]


def test_it_tells_well_from_ill_from_off(user: Actor, database: Database) -> None:
    made = webhook_endpoints.create_endpoint(user, URL, frozenset(EventType))
    webhook_endpoints.send_test(user, made.id)
    at = open_tab(PAGE, user).run()
    assert not at.exception
    assert "Ligada" in texts_of(at)
    assert {"Testar", "Trocar segredo", "Desligar", "Apagar"} <= labels(at)
    assert made.secret not in texts_of(at)
    database.execute("update webhook_deliveries set kind = 'message.state', new_state = 'read'")
    assert "Entrega das enviadas: lida" in list(open_tab(PAGE, user).run().table[0].value["Aviso"])
    database.execute("update webhook_endpoints set failures = 3, failing_since = now() - interval '3 hours'")
    said = texts_of(open_tab(PAGE, user).run())
    assert "Sem resposta há 3 h." in said
    assert "1 avisos esperam" in said
    database.execute(
        "update webhook_endpoints set active = false, off_reason = 'gone'; update webhook_deliveries set state = 'dead'"
    )
    at = open_tab(PAGE, user).run()
    assert "respondeu 410" in texts_of(at)
    assert {"Ligar", "Reenviar todos", "Reenviar"} <= labels(at)
    assert "Testar" not in labels(at)


def test_it_lets_only_admins_touch_what_hears_of_everybody(new_actor: Callable[..., Actor]) -> None:
    admin, operator = new_actor(Role.ADMIN), new_actor(Role.OPERATOR)
    webhook_endpoints.create_endpoint(admin, URL, frozenset(EventType), everybody=True)
    for actor, offered in ((admin, True), (operator, False)):
        at = open_tab(PAGE, actor)
        at.session_state["endpoints_whose"] = "De todos"
        at.run()
        assert not at.exception
        assert URL in texts_of(at)
        assert ("Apagar" in labels(at)) == offered
        assert ("Criar integração" in labels(at)) == offered
