"""The page "Conversas" as a person uses it: read, answer, react, search, listen; staff only through broken glass."""

import base64
import io
import re
import wave

import pytest
from playwright.sync_api import expect

from services.db.actor import Role
from tests.support.browser_user import BrowserUser, NewBrowserUser
from tests.support.waiting import wait_for

pytestmark = pytest.mark.browser

ANA, BIA = "5511912345678", "5511987650000"


def recording() -> str:
    """A second of silence that a browser plays."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, 8000, 8000, "NONE", ""))
        sound.writeframes(bytes(16_000))
    return "data:audio/wav;base64," + base64.b64encode(file.getvalue()).decode()


@pytest.fixture
def reader(new_browser_user: NewBrowserUser) -> BrowserUser:
    """Somebody connected, at the page "Conversas"."""
    user = new_browser_user(paired=True, path="/conversations")
    expect(user.page.get_by_text("Nenhuma conversa ainda.")).to_be_visible()
    return user


def test_it_reads_answers_reacts_searches_and_plays(reader: BrowserUser, new_browser_user: NewBrowserUser) -> None:
    page, control = reader.page, reader.installation.processes.control
    control.inbound(reader.session, ANA, "Quanto fica o orçamento?", name="Ana")
    control.inbound(reader.session, BIA, "Bom dia *gente*", name="Bia")
    ana = page.get_by_role("button", name=re.compile("Ana.*1"))
    expect(ana).to_be_visible()
    expect(page.get_by_role("button", name="Bia")).to_be_visible()
    ana.click()
    bubbles = page.locator(".st-key-thread_messages")
    expect(bubbles.get_by_text("Quanto fica o orçamento?")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("Ana.*1 "))).to_have_count(0)

    draft = page.get_by_test_id("stChatInputTextArea")
    draft.fill("Estou escre")
    control.inbound(reader.session, ANA, "Você está aí?", name="Ana")
    expect(bubbles.get_by_text("Você está aí?")).to_be_visible()
    expect(draft).to_have_value("Estou escre")

    bubbles.get_by_test_id("stChatMessage").filter(has_text="orçamento").get_by_role("button").click()
    page.get_by_role("button", name="👍").click()
    expect(bubbles.get_by_text("👍")).to_be_visible()
    bubbles.get_by_test_id("stChatMessage").filter(has_text="orçamento").get_by_role("button").click()
    page.get_by_role("button", name="Responder").click()
    expect(page.get_by_text("Respondendo a: Quanto fica o orçamento?")).to_be_visible()
    draft.fill("Fica em R$ 50,00")
    draft.press("Enter")
    mine = bubbles.get_by_test_id("stChatMessage").filter(has_text="Fica em R$ 50,00")
    expect(mine).to_be_visible()
    expect(mine.get_by_text("done_all")).to_be_visible()
    assert [sent["body"] for sent in control.sent(reader.session)] == ["Fica em R$ 50,00"]

    control.inbound(reader.session, ANA, type="ptt", base64=recording(), mimetype="audio/wav", name="Ana")
    audio = bubbles.locator("audio")
    expect(audio).to_be_visible()
    wait_for(lambda: audio.evaluate("a => a.readyState >= 1 && a.duration > 0.9"), what="the recording")
    audio.evaluate("async a => { a.muted = true; await a.play(); }")
    wait_for(lambda: audio.evaluate("a => a.currentTime > 0"), what="sound")

    page.get_by_label("Buscar").fill("orcamentos")
    page.get_by_label("Buscar").press("Enter")
    hit = page.locator(".st-key-chats").get_by_text("Quanto fica o orçamento?")
    expect(hit).to_be_visible()

    stranger = new_browser_user()
    address = audio.get_attribute("src") or ""
    status = "address => fetch(address).then(answer => answer.status)"
    assert page.evaluate(status, address) == 200
    assert stranger.page.evaluate(status, address) == 404
    assert page.request.get(address).status == 403  # asked for by no page of ours
    stranger.page.goto(page.url)
    expect(stranger.page.get_by_text("Essa conversa não existe mais")).to_be_visible()
    expect(stranger.page.get_by_text("orçamento")).to_have_count(0)


def test_it_shows_staff_a_users_chats_only_for_a_reason_and_tells_the_user(
    reader: BrowserUser, new_browser_user: NewBrowserUser
) -> None:
    reader.installation.processes.control.inbound(reader.session, ANA, "segredo nosso", name="Ana")
    expect(reader.page.get_by_role("button", name="Ana")).to_be_visible()
    staff = new_browser_user(Role.OPERATOR, path=None)
    staff.page.goto(f"{reader.installation.processes.console_url}/conversations?pessoa={reader.user_id}")
    expect(staff.page.get_by_text("As conversas são da pessoa. Para vê-las")).to_be_visible()
    expect(staff.page.get_by_role("button", name="Ana")).to_have_count(0)
    staff.page.get_by_role("button", name="Ver as conversas").click()
    staff.page.get_by_label("Motivo").fill("chamado 4711, a pessoa pediu ajuda")
    staff.page.get_by_role("button", name="Quebrar o vidro").click()
    staff.page.get_by_role("button", name="Ana").click()
    expect(staff.page.locator(".st-key-thread_messages").get_by_text("segredo nosso")).to_be_visible()
    expect(staff.page.get_by_test_id("stChatInputTextArea")).to_have_count(0)
    reader.page.reload()
    expect(reader.page.get_by_text("Nossa equipe abriu as suas conversas")).to_be_visible()
    expect(reader.page.get_by_text("chamado 4711")).to_be_visible()
    staff.page.get_by_role("button", name="Encerrar o acesso").click()
    expect(staff.page.get_by_text("As conversas são da pessoa. Para vê-las")).to_be_visible()
    expect(staff.page.get_by_text("segredo nosso")).to_have_count(0)
