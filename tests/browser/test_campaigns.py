"""The page "Campanhas" as a person uses it, against all the real processes."""

from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from services.db.actor import Role, person
from services.outreach import template_content, templates
from tests.support.browser_steps import fill_in
from tests.support.browser_user import BrowserUser, NewBrowserUser
from tests.support.waiting import wait_for

pytestmark = pytest.mark.browser


@pytest.fixture
def sender(new_browser_user: NewBrowserUser) -> BrowserUser:
    """Somebody connected, with a template, at a new campaign."""
    user = new_browser_user(paired=True, path=None)
    templates.save(
        person(user.user_id, Role.USER), template_content.TemplateDraft("Oferta", "Oi, {{nome}}, temos novidade.")
    )
    return user


def begin(user: BrowserUser, numbers: str, name: str = "Novidades de novembro") -> Page:
    page = user.page
    user.go("/campaigns?id=novo")
    fill_in(page, "Nome da campanha", name)
    page.get_by_label("Modelo", exact=True).click()
    page.get_by_role("option", name="Oferta").click()
    fill_in(page, "Números", numbers)
    return page


def badge(page: Page, word: str) -> Locator:
    return page.locator(".stMarkdownBadge", has_text=word)


def listed(count: int) -> str:
    return "\n".join(f"Pessoa {n}; (11) 98000-{n:04d}" for n in range(1, count + 1))


def test_it_foretells_sends_is_held_at_once_and_says_what_became_of_each(sender: BrowserUser, tmp_path: Path) -> None:
    page = begin(sender, listed(8))
    expect(page.get_by_text("Prontos: 8")).to_be_visible()
    page.get_by_role("button", name="Ver a previsão").click()
    expect(page.get_by_text("8 mensagens, termina")).to_be_visible()
    control = sender.installation.processes.control
    assert control.sent(sender.session) == []
    page.get_by_role("button", name="Começar: 8 mensagens").click()
    wait_for(lambda: control.sent(sender.session))
    page.get_by_role("button", name="Pausar").click()
    expect(page.get_by_text("Nada mais sai até você retomar.")).to_be_visible()
    wait_for(lambda: not queued(sender))
    held = len(control.sent(sender.session))
    assert 0 < held < 8
    page.reload()
    expect(badge(page, "Pausada")).to_be_visible()
    assert len(control.sent(sender.session)) == held, "nothing more has left while it was held"
    page.get_by_role("button", name="Retomar").click()
    expect(badge(page, "Terminada")).to_be_visible(timeout=30_000)
    wait_for(lambda: len(control.sent(sender.session)) == 8)
    assert len({one["to"] if "to" in one else one["body"] for one in control.sent(sender.session)}) == 8
    page.get_by_role("tab", name="Resultado").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Baixar CSV").click()
    target = tmp_path / "result.csv"
    download.value.save_as(target)
    lines = target.read_text("utf-8-sig").splitlines()
    assert len(lines) == 9
    assert '"5511980000001"' in lines[1]


def queued(user: BrowserUser) -> int:
    count: int = user.installation.database.one(
        "select count(*) from messages where user_id = %s and state in ('queued', 'sending')", user.user_id
    )
    return count


def test_it_stops_everything_and_cancels(sender: BrowserUser) -> None:
    page = begin(sender, listed(20), "=Novidades")
    page.get_by_role("button", name="Ver a previsão").click()
    page.get_by_role("button", name="Começar: 20 mensagens").click()
    expect(badge(page, "Enviando")).to_be_visible()
    page.get_by_role("button", name="Parar tudo").click()
    expect(page.get_by_text("Os envios estão parados desde")).to_be_visible()
    expect(page.get_by_text("Os envios estão parados: continua quando voltarem.")).to_be_visible()
    sender.go("/schedules")
    expect(page.get_by_text("Os envios estão parados desde")).to_be_visible()
    sender.go("/send")
    expect(page.get_by_text("Os envios estão parados desde")).to_be_visible()
    sender.go("/campaigns")
    page.get_by_role("button", name="Abrir").click()
    page.get_by_role("button", name="Cancelar", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Cancelar a campanha").click()
    expect(badge(page, "Cancelada")).to_be_visible()
    wait_for(lambda: not queued(sender))
    sender.go("/send")
    page.get_by_role("button", name="Voltar a enviar").click()
    expect(page.get_by_text("Os envios estão parados desde")).to_have_count(0)
    assert len(sender.installation.processes.control.sent(sender.session)) < 20


@pytest.mark.slow
def test_ten_thousand_rows_and_none(sender: BrowserUser, tmp_path: Path) -> None:
    page = begin(sender, "")
    page.get_by_role("button", name="Ver a previsão").click()
    expect(page.get_by_text("A lista está vazia.")).to_be_visible()
    rows = "\n".join(f"Pessoa {n};119{80000000 + n}" for n in range(1, 10_001))
    sheet = tmp_path / "lista.csv"
    sheet.write_text("nome;telefone\n" + rows, "latin-1")
    page.get_by_text("Arquivo", exact=True).click()
    page.locator("input[type=file]").set_input_files(sheet)
    expect(page.get_by_text("Prontos: 10000")).to_be_visible(timeout=60_000)
    page.get_by_role("button", name="Ver a previsão").click()
    expect(page.get_by_text("10000 mensagens, termina")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("passa do limite de hoje em 9500")).to_be_visible()
    assert sender.installation.database.one("select count(*) from campaign_recipients") >= 10_000
