"""The page "Diagnóstico", against all the real processes."""

import pytest
from playwright.sync_api import expect

from services.db.actor import Role
from tests.support.browser_steps import pair, send_text
from tests.support.browser_user import NewBrowserUser
from tests.support.sessions import wrote_to

pytestmark = pytest.mark.browser


def test_it_leads_an_owner_from_a_sound_session_through_a_dead_one_back_to_a_sound_one(
    new_browser_user: NewBrowserUser,
) -> None:
    user = new_browser_user(path="/diagnostics")
    page = user.page
    expect(page.get_by_text("Nenhum WhatsApp foi conectado por aqui ainda.").first).to_be_visible()
    page.get_by_text("Ir para Meu WhatsApp").first.click()
    expect(page.get_by_text("Conecte seu WhatsApp")).to_be_visible()
    pair(user)
    page.get_by_role("link", name="Diagnóstico").click()
    expect(page.get_by_text("Nada de errado encontrado.")).to_be_visible()
    wrote_to(user.installation.database, user.user_id)
    user.installation.processes.control.fault("zombie", user.session)
    page.get_by_role("button", name="Verificar de novo").first.click()
    expect(page.get_by_text("o WhatsApp não responde por esta sessão").first).to_be_visible()
    expect(page.get_by_text("A sessão está mesmo de pé?").first).to_be_visible()
    user.installation.processes.control.fault("zombie", user.session, on=False)
    page.get_by_role("button", name="Reconectar").first.click()
    expect(page.get_by_text("Nada de errado encontrado.")).to_be_visible()
    page.get_by_role("tab", name="A sessão cai").click()
    expect(page.get_by_text("Não caiu desde que conectou.")).to_be_visible()


def test_it_shows_staff_any_session_by_search_and_by_link_and_never_a_code(new_browser_user: NewBrowserUser) -> None:
    owner, staff = new_browser_user(), new_browser_user(Role.OPERATOR, path=None)
    owner.page.get_by_role("button", name="Conectar", exact=True).click()
    expect(owner.page.locator(".picture svg")).to_be_visible()
    page = staff.page
    staff.go("/diagnostics")
    expect(page.get_by_text("Escolha uma pessoa para examinar")).to_be_visible()
    staff.go(f"/diagnostics?user={owner.user_id}")
    expect(page.get_by_text("Sim: há um código para ler.")).to_be_visible()
    expect(page.get_by_text("O próximo passo é da própria pessoa, na tela dela.").first).to_be_visible()
    code = owner.installation.database.one("select qr_urlcode from whatsapp_sessions where user_id = %s", owner.user_id)
    assert code not in page.content()
    assert page.locator(".picture").count() == 0


def test_it_answers_why_a_message_did_not_arrive_in_two_clicks(new_browser_user: NewBrowserUser) -> None:
    user, staff = new_browser_user(paired=True, path="/send"), new_browser_user(Role.OPERATOR, path=None)
    page, control = user.page, user.installation.processes.control
    control.fault("error_but_delivered", user.session, delivered=False)
    send_text(user, text="Seu pedido saiu.")
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
    staff.go(f"/diagnostics?user={user.user_id}")
    staff.page.get_by_role("link", name="Por que não chegou?").first.click()
    expect(staff.page.get_by_text("Não sabemos se ela saiu")).to_be_visible()
    expect(staff.page.get_by_text("…5678")).to_be_visible()
    assert "Seu pedido saiu." not in staff.page.content()


def test_it_says_what_to_do_at_an_address_without_a_message_or_with_somebody_elses(
    new_browser_user: NewBrowserUser,
) -> None:
    user = new_browser_user(path="/message")
    expect(user.page.get_by_text("Escolha uma mensagem na lista")).to_be_visible()
    user.go(f"/message?id={user.user_id}")
    expect(user.page.get_by_text("Não encontramos o que você procura.")).to_be_visible()
