"""The page "Agendamentos" as a person uses it, against all the real processes."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from babel.dates import format_date
from playwright.sync_api import Locator, Page, expect

from tests.support.browser_steps import fill_in
from tests.support.browser_user import NewBrowserUser
from tests.support.waiting import wait_for

pytestmark = pytest.mark.browser

ZONE = ZoneInfo("America/Sao_Paulo")
DAY = {"day": "%d", "month": "%m", "year": "%Y"}
HOUR = {"hour": "%H", "minute": "%M"}


def at(page: Page, moment: datetime) -> None:
    """Date and time as one types them, part by part; a run in between that takes a digit back is answered by more."""
    day, hour = page.get_by_test_id("stDateInput").first, page.get_by_test_id("stTimeInput").first
    for _attempt in range(4):
        write(page, day, moment, DAY)
        write(page, hour, moment, HOUR)  # the click into it closes the calendar
        page.keyboard.press("Tab")
        expect(page.locator("[data-test-script-state=notRunning]").first).to_be_attached()
        if shows(day, moment, DAY) and shows(hour, moment, HOUR):
            return


def write(page: Page, field: Locator, moment: datetime, parts: dict[str, str]) -> None:
    for part, form in parts.items():
        field.locator(f"[data-type={part}]").click()
        page.keyboard.type(moment.strftime(form))


def shows(field: Locator, moment: datetime, parts: dict[str, str]) -> bool:
    return all(
        field.locator(f"[data-type={part}]").inner_text() == moment.strftime(form) for part, form in parts.items()
    )


def test_it_sends_what_was_scheduled_once_its_time_has_come(new_browser_user: NewBrowserUser) -> None:
    user = new_browser_user(paired=True, path="/schedules")
    page, database = user.page, user.installation.database
    expect(page.get_by_text("Nenhum agendamento.")).to_be_visible()
    page.get_by_role("button", name="Novo agendamento").click()
    fill_in(page, "Nome do agendamento", "Lembrete da consulta")
    fill_in(page, "Mensagem", "Sua consulta é amanhã.")
    page.get_by_role("button", name="Agendar", exact=True).click()
    expect(page.get_by_text("A lista está vazia.")).to_be_visible()
    fill_in(page, "Números", "(11) 91234-5678")
    at(page, datetime.now(ZONE) - timedelta(days=1))
    expect(page.get_by_text("Esse horário já passou.")).to_be_visible()
    due = (datetime.now(ZONE) + timedelta(days=1)).replace(second=0, microsecond=0)
    at(page, due)
    expect(page.get_by_text(f"{due:%d/%m/%Y %H:%M}")).to_be_visible()
    page.get_by_role("button", name="Agendar", exact=True).click()
    card = page.locator("[class*='st-key-schedule_']").filter(has_text="Lembrete da consulta").first
    expect(card).to_be_visible()
    expect(card.get_by_text(f"{due:%d/%m/%Y %H:%M}").first).to_be_visible()
    control = user.installation.processes.control
    assert database.one("select next_at from schedules where user_id = %s", user.user_id) == due
    assert control.sent(user.session) == []
    # A day later.
    database.execute(
        "update schedules set first_local_time = first_local_time - interval '1 day',"
        " next_local_time = next_local_time - interval '1 day', next_at = next_at - interval '1 day',"
        " next_check_at = next_check_at - interval '1 day' where user_id = %s",
        user.user_id,
    )
    wait_for(lambda: control.sent(user.session), 60)
    assert [one["body"] for one in control.sent(user.session)] == ["Sua consulta é amanhã."]
    expect(page.get_by_text("Posto na fila")).to_be_visible()
    expect(page.get_by_text("Nenhum agendamento.")).to_be_visible()


def test_it_holds_skips_changes_and_shows_a_month(new_browser_user: NewBrowserUser) -> None:
    user = new_browser_user(path=None)
    page, database = user.page, user.installation.database
    tomorrow = (datetime.now(ZONE) + timedelta(days=1)).replace(hour=9, minute=30)
    user.go("/schedules?id=novo")
    fill_in(page, "Nome do agendamento", "Bom dia da equipe")
    fill_in(page, "Mensagem", "Bom dia!")
    fill_in(page, "Números", "(11) 91234-5678")
    at(page, tomorrow)
    page.get_by_label("Repetição").click()
    page.get_by_role("option", name="Todo dia").click()
    expect(page.get_by_text(f"{tomorrow + timedelta(days=9):%d/%m/%Y 09:30}")).to_be_visible()
    page.get_by_role("button", name="Agendar", exact=True).click()
    page.get_by_text("Próximas dez datas").click()
    page.get_by_role("button", name="Pular").first.click()
    expect(page.get_by_role("button", name="Desfazer")).to_be_visible()
    assert database.one("select count(*) from schedule_runs where user_id = %s", user.user_id) == 1
    page.get_by_role("button", name="Pausar").click()
    expect(page.get_by_text("Pausado")).to_be_visible()
    page.get_by_role("button", name="Retomar").click()
    expect(page.get_by_text("Pausado")).to_have_count(0)
    page.get_by_role("button", name="Editar").click()
    fill_in(page, "Mensagem", "Boa tarde!")
    at(page, tomorrow.replace(hour=14))
    page.get_by_role("button", name="Guardar").click()
    expect(page.get_by_role("button", name="Novo agendamento")).to_be_visible()
    expect(page.get_by_label("Mensagem", exact=True)).to_have_count(0)
    expect(page.get_by_text("Boa tarde!")).to_be_visible()
    page.get_by_text("Calendário").click()
    month = format_date(datetime.now(ZONE), "MMMM 'de' yyyy", locale="pt_BR")
    expect(page.get_by_text(month, exact=True)).to_be_visible()
    page.get_by_role("button", name="chevron_right icon").first.click()
    expect(page.get_by_text("Bom dia da equipe").first).to_be_visible()
    page.get_by_text("Lista", exact=True).click()
    page.get_by_role("button", name="Encerrar").click()
    page.get_by_role("dialog").get_by_role("button", name="Encerrar").click()
    expect(page.get_by_text("Nenhum agendamento.")).to_be_visible()
