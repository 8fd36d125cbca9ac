"""The pages "Integrações", "Regras" and "Lacunas" as people use them, against all the real processes."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from services.db.actor import Role
from tests.support.browser_user import NewBrowserUser
from tests.support.waiting import wait_for
from tests.support.webhook_consumer import WebhookConsumer, running_consumer

pytestmark = pytest.mark.browser

ANA = "5511976543210"


@pytest.fixture
def system() -> Iterator[WebhookConsumer]:
    with running_consumer() as made:
        yield made


def test_it_forwards_what_comes_in_and_replays_what_was_not_heard(
    new_browser_user: NewBrowserUser, system: WebhookConsumer
) -> None:
    person = new_browser_user(paired=True, path="/forwarding")
    page, database = person.page, person.installation.database
    expect(page.get_by_text("Standard Webhooks")).to_be_visible()
    page.get_by_label("Endereço do seu sistema").fill("ftp://erp.exemplo.com.br")
    page.get_by_role("button", name="Criar integração").click()
    expect(page.get_by_text("Esse endereço não serve")).to_be_visible()
    page.get_by_label("Endereço do seu sistema").fill(system.url)
    page.get_by_role("button", name="Criar integração").click()
    dialog = page.get_by_role("dialog")
    secret = dialog.locator("code").inner_text().strip()
    dialog.get_by_role("button", name="Já guardei").click()
    expect(dialog).to_have_count(0)
    expect(page.get_by_text("Ligada").first).to_be_visible()
    assert secret not in page.content()

    person.installation.processes.control.inbound(person.session, ANA, "Chegou o pedido?")
    expect(page.get_by_text("Entregue · 200")).to_be_visible()
    payload = system.first().verified(secret)
    assert (payload["type"], payload["data"]["body"]) == ("message.received", "Chegou o pedido?")

    page.get_by_role("button", name="Testar").click()
    expect(page.get_by_text("Teste", exact=True)).to_be_visible()
    wait_for(lambda: len(system.heard) == 2)

    database.execute(
        "update webhook_deliveries set state = 'dead', attempts = 10, last_status = 400 where kind <> 'webhook.test'"
    )
    page.get_by_text("Não entregues: 1").click()
    page.get_by_role("button", name="Reenviar todos").click()
    wait_for(lambda: len(system.heard) == 3)
    assert system.heard[2].id == system.heard[0].id
    expect(page.get_by_text("Não entregues")).to_have_count(0)

    page.get_by_role("button", name="Trocar segredo").click()
    dialog.get_by_role("button", name="Confirmar").click()
    expect(dialog.get_by_text("Copie o segredo agora")).to_be_visible()
    fresh = dialog.locator("code").inner_text().strip()
    dialog.get_by_role("button", name="Já guardei").click()
    expect(dialog).to_have_count(0)
    page.get_by_role("button", name="Testar").click()
    wait_for(lambda: len(system.heard) == 4)
    assert system.heard[3].verified(fresh) == system.heard[3].verified(secret)
    logs = person.installation.processes.logs()
    assert not [one for one in (secret, fresh, "Chegou o pedido?", "a-token-of-theirs") if one in logs]


def test_it_answers_and_labels_by_rules(new_browser_user: NewBrowserUser) -> None:
    person = new_browser_user(paired=True, path="/rules")
    page, installation = person.page, person.installation
    page.get_by_label("Resposta", exact=True).fill("Estamos fechados.")
    for day in ("Segunda", "Terça", "Quarta", "Quinta", "Sexta"):
        page.get_by_text(day, exact=True).click()
    page.get_by_role("button", name="Guardar").click()
    expect(page.get_by_text("Resposta automática guardada.")).to_be_visible()
    page.get_by_role("tab", name="Etiquetas").click()
    page.get_by_label("Quando a mensagem tiver").fill("orçamento, preço")
    page.get_by_label("Pôr no contato a etiqueta").fill("Interessado")
    page.get_by_role("button", name="Criar regra").click()
    expect(page.get_by_text("orçamento, preço")).to_be_visible()
    installation.processes.control.inbound(person.session, ANA, "Qual o PREÇO?")
    page.get_by_role("tab", name="O que fizeram").click()
    expect(page.get_by_text("Respondeu", exact=True)).to_be_visible()
    expect(page.get_by_text("Pôs a etiqueta", exact=True)).to_be_visible()
    wait_for(
        lambda: [one["body"] for one in installation.processes.control.sent(person.session)] == ["Estamos fechados."]
    )
    labels = "select labels from contacts where user_id = %s"
    assert installation.database.one(labels, person.user_id) == ["Interessado"]


def test_it_shows_what_was_brought_back_after_the_receiver_was_away(new_browser_user: NewBrowserUser) -> None:
    person, operator = new_browser_user(paired=True, path="/outages"), new_browser_user(Role.OPERATOR, path=None)
    page, processes = person.page, person.installation.processes
    expect(page.get_by_text("Nenhuma lacuna.")).to_be_visible()
    processes.stop("webhook")
    for number in range(3):
        processes.control.inbound(person.session, ANA, f"perdida {number}")
    processes.start("webhook")
    expect(page.get_by_text("3 mensagens recuperadas")).to_be_visible()
    expect(page.get_by_text("O receptor estava fora do ar").first).to_be_visible()
    operator.go("/outages")
    card = operator.page.locator("[class*=st-key-outage_]", has_text="3 mensagens recuperadas")
    expect(card.get_by_text(re.compile(r"[0-9] sess(ão|ões)"))).to_be_visible()  # others may have been there before
    card.get_by_text("De quem").click()
    expect(card.get_by_test_id("stDataFrame")).to_be_visible()
    assert "perdida" not in operator.page.content()
    assert ANA not in operator.page.content()
