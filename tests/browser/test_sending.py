"""The page "Enviar" as a person uses it, against all the real processes."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visitor
from tests.browser.test_pairing import connect
from tests.installation import wait_for

pytestmark = pytest.mark.browser

Visit = Callable[..., Visitor]


@pytest.fixture
def sender(visit: Visit) -> Visitor:
    """Somebody connected, at the page "Enviar"."""
    visitor = visit()
    connect(visitor)
    visitor.page.get_by_text("Enviar uma mensagem").click()
    expect(visitor.page.get_by_label("Mensagem")).to_be_visible()
    return visitor


def send(visitor: Visitor, phone: str = "(11) 91234-5678", text: str = "Olá!") -> None:
    visitor.page.get_by_label("Para (WhatsApp)").fill(phone)
    visitor.page.get_by_label("Mensagem").fill(text)
    visitor.page.get_by_role("button", name="Enviar", exact=True).click()


def outbox(visitor: Visitor) -> list[str]:
    """What truly left, by the sandbox's own list."""
    return [message["body"] for message in visitor.house.processes.control.sent(visitor.session)]


def test_it_moves_a_message_to_read_before_ones_eyes(sender: Visitor) -> None:
    send(sender, text="Seu pedido saiu.")
    expect(sender.page.get_by_text("Mensagem na fila.")).to_be_visible()
    expect(sender.page.get_by_text("Lida")).to_be_visible()
    assert outbox(sender) == ["Seu pedido saiu."]


def test_it_empties_the_form_only_once_the_message_is_queued(sender: Visitor) -> None:
    send(sender, phone="123", text="Guarde este texto")
    expect(sender.page.get_by_text("Esse número de telefone não é válido.")).to_be_visible()
    expect(sender.page.get_by_label("Mensagem")).to_have_value("Guarde este texto")
    send(sender, text="Guarde este texto")
    expect(sender.page.get_by_label("Mensagem")).to_have_value("")


def test_it_sends_once_on_a_double_click(sender: Visitor) -> None:
    sender.page.get_by_label("Para (WhatsApp)").fill("(11) 91234-5678")
    sender.page.get_by_label("Mensagem").fill("Só uma vez")
    sender.page.get_by_role("button", name="Enviar", exact=True).dblclick()
    expect(sender.page.get_by_text("Lida")).to_be_visible()
    assert outbox(sender) == ["Só uma vez"]
    assert sender.house.database.one("select count(*) from messages where user_id = %s", sender.user_id) == 1


@pytest.mark.parametrize(
    ("phone", "text", "sentence"),
    [
        ("(11) 91234-5678", "   ", "A mensagem está vazia."),
        ("11 1234", "Olá!", "Esse número de telefone não é válido."),
        ("(11) 91234-5678", "x" * 4097, "A mensagem passa de 4096 caracteres."),
    ],
)
def test_it_refuses_with_a_sentence_and_sends_nothing(sender: Visitor, phone: str, text: str, sentence: str) -> None:
    send(sender, phone, text)
    expect(sender.page.get_by_text(sentence)).to_be_visible()
    assert sender.house.database.one("select count(*) from messages where user_id = %s", sender.user_id) == 0


def test_it_says_that_a_number_is_not_on_whatsapp_and_sends_nothing(sender: Visitor) -> None:
    sender.house.processes.control.number("5511912340000", exists=False)
    send(sender, phone="(11) 91234-0000")
    expect(sender.page.get_by_text("Esse número não está no WhatsApp; nada foi enviado.")).to_be_visible()
    expect(sender.page.get_by_text("Falhou")).to_be_visible()
    assert outbox(sender) == []


def test_it_says_that_a_message_is_uncertain_and_settles_it_by_reading_the_chat(sender: Visitor) -> None:
    send(sender, text="primeiro contato")
    expect(sender.page.get_by_text("Lida")).to_be_visible()
    sender.house.processes.control.fault("error_but_delivered", sender.session, times=1)
    sender.house.processes.control.fault("webhook_lost", sender.session, event="onack")
    send(sender, text="saiu mesmo com erro")
    expect(sender.page.get_by_text("Incerta")).to_be_visible()
    expect(sender.page.get_by_text("Não sabemos se a mensagem saiu")).to_be_visible()
    expect(sender.page.get_by_text("Incerta")).to_have_count(0, timeout=25_000)
    assert outbox(sender).count("saiu mesmo com erro") == 1


def test_it_offers_to_connect_where_nothing_is_connected(visit: Visit) -> None:
    visitor = visit()
    visitor.go("/send")
    expect(visitor.page.get_by_text("Seu WhatsApp não está conectado.")).to_be_visible()
    visitor.page.get_by_text("Ir para Meu WhatsApp").click()
    expect(visitor.page.get_by_text("Conecte seu WhatsApp")).to_be_visible()


def test_it_refuses_when_the_session_went_down_while_one_was_writing(sender: Visitor) -> None:
    sender.page.get_by_label("Para (WhatsApp)").fill("(11) 91234-5678")
    sender.page.get_by_label("Mensagem").fill("tarde demais")
    sender.house.processes.control.phone_logout(sender.session)
    wait_for(
        lambda: (
            sender.house.database.one("select status from whatsapp_sessions where user_id = %s", sender.user_id)
            == "desconectado"
        )
    )
    sender.page.get_by_role("button", name="Enviar", exact=True).click()
    expect(sender.page.get_by_text("não está conectado")).to_be_visible()
    assert outbox(sender) == []
