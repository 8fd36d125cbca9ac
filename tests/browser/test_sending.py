"""The page "Enviar" as a person uses it, against all the real processes."""

import contextlib
import io
import os
import re
from pathlib import Path

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Error, expect

from tests.support.browser_steps import send_text
from tests.support.browser_user import BrowserUser, NewBrowserUser
from tests.support.waiting import wait_for

pytestmark = pytest.mark.browser


@pytest.fixture
def sender(new_browser_user: NewBrowserUser) -> BrowserUser:
    """Somebody connected, at the page "Enviar"."""
    user = new_browser_user(paired=True, path="/send")
    expect(user.page.get_by_label("Mensagem")).to_be_visible()
    return user


def outbox(user: BrowserUser) -> list[str]:
    """What truly left, by the sandbox's own list."""
    return [message["body"] for message in user.installation.processes.control.sent(user.session)]


def test_it_moves_a_message_to_read_before_ones_eyes(sender: BrowserUser) -> None:
    send_text(sender, text="Seu pedido saiu.")
    expect(sender.page.get_by_text("Mensagem na fila.")).to_be_visible()
    expect(sender.page.get_by_text("Lida")).to_be_visible()
    assert outbox(sender) == ["Seu pedido saiu."]


def test_it_empties_the_form_only_once_the_message_is_queued(sender: BrowserUser) -> None:
    send_text(sender, phone="123", text="Guarde este texto")
    expect(sender.page.get_by_text("Esse número de telefone não é válido.")).to_be_visible()
    expect(sender.page.get_by_label("Mensagem")).to_have_value("Guarde este texto")
    send_text(sender, text="Guarde este texto")
    expect(sender.page.get_by_label("Mensagem")).to_have_value("")


def test_it_sends_once_on_a_double_click(sender: BrowserUser) -> None:
    sender.page.get_by_label("Para (WhatsApp)").fill("(11) 91234-5678")
    sender.page.get_by_label("Mensagem").fill("Só uma vez")
    sender.page.get_by_role("button", name="Enviar", exact=True).dblclick()
    expect(sender.page.get_by_text("Lida")).to_be_visible()
    assert outbox(sender) == ["Só uma vez"]
    assert sender.installation.database.one("select count(*) from messages where user_id = %s", sender.user_id) == 1


def test_its_button_stays_under_the_press_whatever_appears(sender: BrowserUser) -> None:
    button = sender.page.get_by_role("button", name="Enviar", exact=True)
    before = button.bounding_box()
    sender.page.get_by_label("Mensagem").fill("Olá!")
    sender.page.get_by_label("Nome (opcional)").focus()
    expect(sender.page.get_by_text("Como a pessoa vai ver:")).to_be_visible()
    assert button.bounding_box() == before


@pytest.mark.parametrize(
    ("phone", "text", "sentence"),
    [
        pytest.param("(11) 91234-5678", "   ", "A mensagem está vazia.", id="empty"),
        pytest.param("11 1234", "Olá!", "Esse número de telefone não é válido.", id="number", marks=pytest.mark.slow),
        pytest.param(
            "(11) 91234-5678", "x" * 4097, "A mensagem passa de 4096 caracteres.", id="long", marks=pytest.mark.slow
        ),
    ],
)
def test_it_refuses_with_a_sentence_and_sends_nothing(
    sender: BrowserUser, phone: str, text: str, sentence: str
) -> None:
    send_text(sender, phone, text)
    expect(sender.page.get_by_text(sentence)).to_be_visible()
    assert sender.installation.database.one("select count(*) from messages where user_id = %s", sender.user_id) == 0


def test_it_says_that_a_number_is_not_on_whatsapp_and_sends_nothing(sender: BrowserUser) -> None:
    sender.installation.processes.control.number("5511912340000", exists=False)
    send_text(sender, phone="(11) 91234-0000")
    expect(sender.page.get_by_text("Esse número não está no WhatsApp; nada foi enviado.")).to_be_visible()
    expect(sender.page.get_by_text("Falhou")).to_be_visible()
    assert outbox(sender) == []


def test_it_says_that_a_message_is_uncertain_and_settles_it_by_reading_the_chat(sender: BrowserUser) -> None:
    send_text(sender, text="primeiro contato")
    expect(sender.page.get_by_text("Lida")).to_be_visible()
    sender.installation.processes.control.fault("error_but_delivered", sender.session, times=1)
    sender.installation.processes.control.fault("webhook_lost", sender.session, event="onack")
    send_text(sender, text="saiu mesmo com erro")
    expect(sender.page.get_by_text("Incerta")).to_be_visible()
    expect(sender.page.get_by_text("Não sabemos se a mensagem saiu")).to_be_visible()
    expect(sender.page.get_by_text("Incerta")).to_have_count(0, timeout=25_000)
    assert outbox(sender).count("saiu mesmo com erro") == 1


def test_it_offers_to_connect_where_nothing_is_connected(new_browser_user: NewBrowserUser) -> None:
    user = new_browser_user(path="/send")
    expect(user.page.get_by_text("Seu WhatsApp não está conectado.")).to_be_visible()
    user.page.get_by_text("Ir para Meu WhatsApp").click()
    expect(user.page.get_by_text("Conecte seu WhatsApp")).to_be_visible()


def test_it_refuses_when_the_session_went_down_while_one_was_writing(sender: BrowserUser) -> None:
    sender.page.get_by_label("Para (WhatsApp)").fill("(11) 91234-5678")
    sender.page.get_by_label("Mensagem").fill("tarde demais")
    sender.installation.processes.control.phone_logout(sender.session)
    wait_for(
        lambda: (
            sender.installation.database.one("select status from whatsapp_sessions where user_id = %s", sender.user_id)
            == "desconectado"
        )
    )
    with contextlib.suppress(Error):  # the page may notice before the click does
        sender.page.get_by_role("button", name="Enviar", exact=True).click(timeout=2000)
    expect(sender.page.get_by_text("não está conectado")).to_be_visible()
    assert outbox(sender) == []


def test_it_sends_a_picture_says_what_is_wrong_with_a_file_and_takes_a_message_back(
    sender: BrowserUser, tmp_path: Path
) -> None:
    page = sender.page
    page.get_by_text("Imagem", exact=True).click()
    page.get_by_label("Para (WhatsApp)").fill("(11) 91234-5678")
    chooser = page.locator("input[type=file]")
    chooser.set_input_files({"name": "foto.jpg", "mimeType": "image/jpeg", "buffer": b"not a picture"})
    expect(page.get_by_text("Este arquivo não serve para este tipo de mensagem.")).to_be_visible()
    big = tmp_path / "grande.jpg"
    big.write_bytes(bytes(60 * 1024 * 1024))
    chooser.set_input_files(big)
    expect(page.get_by_text("O arquivo tem 60 MB e o limite para este tipo de mensagem é 16 MB.")).to_be_visible()

    out = io.BytesIO()
    Image.effect_noise((400, 300), 60).convert("RGB").save(out, "JPEG")
    chooser.set_input_files({"name": "loja.jpg", "mimeType": "image/jpeg", "buffer": out.getvalue()})
    preview = page.locator(".st-key-preview")
    expect(preview.get_by_role("img")).to_be_visible()
    page.get_by_label("Legenda (opcional)").fill("Nossa *loja* nova")
    page.get_by_role("button", name="Enviar", exact=True).click()
    expect(page.get_by_text("Lida")).to_be_visible()
    (sent,) = sender.installation.processes.control.sent(sender.session)
    assert (sent["type"], sent["body"], sent["filename"]) == ("image", "Nossa *loja* nova", "loja.jpg")
    # The recent list shows it by its owner's own route, which knows nobody else.
    shown = page.locator(".plushify-bubble img").last
    expect(shown).to_have_js_property("naturalWidth", 400)
    assert httpx.get(str(shown.get_attribute("src")), headers={"Sec-Fetch-Site": "same-origin"}).status_code == 401

    # One that waits can be taken back; its lane is stopped, so that it does wait.
    sender.installation.database.execute("update lanes set stopped_at = now()")
    page.get_by_text("Texto", exact=True).click()
    send_text(sender, text="mudei de ideia")
    page.get_by_role("button", name="Cancelar").click()
    expect(page.get_by_text(re.compile("Cancelada$"))).to_be_visible()  # the toast says it in other letters
    sender.installation.database.execute("update lanes set stopped_at = null")
    if shots := os.environ.get("PLUSHIFY_SHOTS"):
        page.screenshot(path=f"{shots}/send.png", full_page=True)


def test_a_person_decides_what_stays_uncertain(sender: BrowserUser) -> None:
    page = sender.page
    sender.installation.processes.control.fault("error_but_delivered", sender.session, times=1, delivered=False)
    send_text(sender, text="saiu ou não?")
    expect(page.get_by_text("Incerta")).to_be_visible()
    page.get_by_role("link", name="Incertos").click()
    expect(page.get_by_text("saiu ou não?")).to_be_visible()
    if shots := os.environ.get("PLUSHIFY_SHOTS"):
        page.get_by_text("O que se sabe").click()
        page.screenshot(path=f"{shots}/uncertain.png", full_page=True)
    page.get_by_role("button", name="Não saiu, enviar de novo").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("duas vezes")).to_be_visible()
    dialog.get_by_role("button", name="Enviar de novo").click()
    expect(page.get_by_text("Nenhuma mensagem incerta")).to_be_visible()
    wait_for(lambda: outbox(sender) == ["saiu ou não?"])


def test_a_reload_does_not_forget_that_a_draft_was_sent(sender: BrowserUser) -> None:
    page = sender.page
    page.get_by_label("Mensagem").fill("x")
    page.wait_for_url("**rascunho=*")
    before = page.url
    send_text(sender, text="uma vez só")
    expect(page.get_by_text("Lida")).to_be_visible()
    # As if the page had been reloaded before it heard that the message was queued.
    page.goto(before)
    send_text(sender, text="uma vez só")
    expect(page.get_by_label("Mensagem")).to_have_value("")
    assert sender.installation.database.one("select count(*) from messages where user_id = %s", sender.user_id) == 1
    assert outbox(sender) == ["uma vez só"]
