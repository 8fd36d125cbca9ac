"""The page "Diagnóstico", against all the real processes."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from services.db.actor import Role
from tests.browser.conftest import Visitor
from tests.browser.test_pairing import connect
from tests.browser.test_sending import send
from tests.conftest import wrote_to

pytestmark = pytest.mark.browser

Visit = Callable[..., Visitor]


def test_it_walks_an_owner_from_a_sound_session_through_a_dead_one_back_to_a_sound_one(visit: Visit) -> None:
    visitor = visit(path="/diagnostics")
    page = visitor.page
    expect(page.get_by_text("Nenhum WhatsApp foi conectado por aqui ainda.").first).to_be_visible()
    page.get_by_text("Ir para Meu WhatsApp").first.click()
    expect(page.get_by_text("Conecte seu WhatsApp")).to_be_visible()
    connect(visitor)
    page.get_by_role("link", name="Diagnóstico").click()
    expect(page.get_by_text("Nada de errado encontrado.")).to_be_visible()
    wrote_to(visitor.house.database, visitor.user_id)
    visitor.house.processes.control.fault("zombie", visitor.session)
    page.get_by_role("button", name="Verificar de novo").first.click()
    expect(page.get_by_text("o WhatsApp não responde por esta sessão").first).to_be_visible()
    expect(page.get_by_text("A sessão está mesmo de pé?").first).to_be_visible()
    visitor.house.processes.control.fault("zombie", visitor.session, on=False)
    page.get_by_role("button", name="Reconectar").first.click()
    expect(page.get_by_text("Nada de errado encontrado.")).to_be_visible()
    page.get_by_role("tab", name="A sessão cai").click()
    expect(page.get_by_text("Não caiu desde que conectou.")).to_be_visible()


def test_it_shows_staff_any_session_by_search_and_by_link_and_never_a_code(visit: Visit) -> None:
    owner, staff = visit(), visit(Role.OPERATOR, path=None)
    owner.page.get_by_role("button", name="Conectar", exact=True).click()
    expect(owner.page.locator(".picture svg")).to_be_visible()
    page = staff.page
    staff.go("/diagnostics")
    expect(page.get_by_text("Escolha uma pessoa para examinar")).to_be_visible()
    staff.go(f"/diagnostics?user={owner.user_id}")
    expect(page.get_by_text("Sim: há um código para ler.")).to_be_visible()
    expect(page.get_by_text("O próximo passo é da própria pessoa, na tela dela.").first).to_be_visible()
    code = owner.house.database.one("select qr_urlcode from whatsapp_sessions where user_id = %s", owner.user_id)
    assert code not in page.content()
    assert page.locator(".picture").count() == 0


def test_it_answers_why_a_message_did_not_arrive_in_two_clicks(visit: Visit) -> None:
    visitor, staff = visit(paired=True, path="/send"), visit(Role.OPERATOR, path=None)
    page, control = visitor.page, visitor.house.processes.control
    control.fault("error_but_delivered", visitor.session, delivered=False)
    send(visitor, text="Seu pedido saiu.")
    expect(page.get_by_text("Incerta")).to_be_visible()
    page.get_by_role("link", name="Por que não chegou?").click()
    expect(page.get_by_text("Não sabemos se ela saiu")).to_be_visible()
    expect(page.get_by_text("Seu pedido saiu.")).to_be_visible()
    for step in ("Entrou na fila.", "Um worker a pegou", "Enviada ao servidor", "Ficou incerta", "será lida de novo"):
        expect(page.get_by_text(step).first).to_be_visible()
    page.get_by_role("link", name="Diagnóstico da sessão").click()
    expect(page.get_by_text("Uma mensagem está incerta desde então.")).to_be_visible()
    page.get_by_role("link", name="Por que não chegou?").first.click()
    expect(page.get_by_text("Não sabemos se ela saiu")).to_be_visible()
    staff.go(f"/diagnostics?user={visitor.user_id}")
    staff.page.get_by_role("link", name="Por que não chegou?").first.click()
    expect(staff.page.get_by_text("Não sabemos se ela saiu")).to_be_visible()
    expect(staff.page.get_by_text("…5678")).to_be_visible()
    assert "Seu pedido saiu." not in staff.page.content()


def test_it_says_what_to_do_at_an_address_without_a_message_or_with_somebody_elses(visit: Visit) -> None:
    visitor = visit(path="/message")
    expect(visitor.page.get_by_text("Escolha uma mensagem na lista")).to_be_visible()
    visitor.go(f"/message?id={visitor.user_id}")
    expect(visitor.page.get_by_text("Não encontramos o que você procura.")).to_be_visible()
