"""The page "Eventos" as staff use it, against all the real processes."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from services.db.actor import Role
from tests.support.browser_steps import FIRST_ROW, choose_first_row, email_of
from tests.support.browser_user import BrowserUser, NewBrowserUser
from tests.support.waiting import wait_for

pytestmark = pytest.mark.browser

ROW_HEIGHT = 35
TEXT = "um texto que ninguém da equipe deve ler"


def failed_event(user: BrowserUser, word: str = "phoneNotConnected") -> int:
    """An event of the user's session that failed while it was handled."""
    database = user.installation.database
    event: int = database.one(
        "insert into events (session, kind, verdict, attempts, handled_at, error, request_id, body)"
        " values (%s, 'status-find', 'failed', 3, now(),"
        " 'services/inbound/handlers.py:49 in handle' || chr(10) || 'ValueError',"
        " gen_random_uuid(), jsonb_build_object('event', 'status-find', 'status', %s::text)::text) returning id",
        user.session,
        word,
    )
    return event


def verdict_of(user: BrowserUser, event: int) -> Any:
    return user.installation.database.one("select verdict from events where id = %s", event)


@pytest.fixture
def operator(new_browser_user: NewBrowserUser) -> BrowserUser:
    return new_browser_user(Role.OPERATOR, path=None, viewport={"width": 1300, "height": 1500})


def choose_row(page: Page, number: int) -> None:
    """Tick or untick the box of one row, counted from 1."""
    place = {"x": FIRST_ROW["x"], "y": FIRST_ROW["y"] + (number - 1) * ROW_HEIGHT}
    page.get_by_test_id("data-grid-canvas").first.click(position=place, force=True)  # type: ignore[arg-type]


@contextmanager
def another_list(page: Page) -> Iterator[None]:
    """Change the filter in the block; it ends once the list that this leads to has taken the other one's place."""
    table = page.locator("[class*=st-key-events_table]").first
    before = re.search(r"st-key-\S+", table.get_attribute("class") or "")
    assert before
    yield
    expect(page.locator(f".{before[0]}")).to_have_count(0)


def look_for(page: Page, text: str) -> None:
    with another_list(page):
        page.get_by_label("Sessão", exact=True).fill(text)
        page.get_by_label("Sessão", exact=True).press("Enter")


def choose(page: Page, box: str, option: str) -> None:
    with another_list(page):
        page.get_by_role("combobox", name=box).click()
        page.get_by_role("option", name=option, exact=True).click()


def test_it_finds_opens_rehearses_and_replays_a_failed_event_that_came_while_it_was_open(
    new_browser_user: NewBrowserUser, operator: BrowserUser
) -> None:
    user = new_browser_user(paired=True, path=None)
    page = operator.page
    operator.go("/events")
    expect(page.get_by_text("Eventos por minuto")).to_be_visible()
    look_for(page, email_of(user))
    expect(page.get_by_role("button", name="Reprocessar todos")).to_have_count(0)
    event = failed_event(user)
    expect(page.get_by_role("button", name="Reprocessar todos os que falharam")).to_be_visible()
    choose(page, "Resultado", "Falhou")
    choose_first_row(page)
    expect(page.get_by_text(f"Evento {event}")).to_be_visible()
    expect(page.get_by_text("services/inbound/handlers.py:49 in handle")).to_be_visible()
    page.get_by_role("button", name="Ensaiar").click()
    expect(page.get_by_text("Mudaria isto")).to_be_visible()
    expect(page.get_by_text("o que o servidor diz")).to_be_visible()
    assert verdict_of(user, event) == "failed"
    page.get_by_text("Forma do corpo").click()
    expect(page.get_by_role("cell", name="phoneNotConnected").first).to_be_visible()
    page.get_by_role("button", name="Reprocessar", exact=True).click()
    expect(page.get_by_text("1 evento voltou para a fila.")).to_be_visible()
    wait_for(lambda: verdict_of(user, event) == "handled")
    expect(page.get_by_text("Nenhum evento com este filtro.")).to_be_visible()
    assert operator.installation.database.execute(
        "select action from audit_log where actor_id = %s", operator.user_id
    ) == [("event.replay",)]


def test_it_rehearses_several_and_replays_all_after_asking(
    new_browser_user: NewBrowserUser, operator: BrowserUser
) -> None:
    user = new_browser_user(paired=True, path=None)
    events = [failed_event(user) for _ in range(3)]
    page = operator.page
    operator.go("/events")
    look_for(page, user.session)
    choose(page, "Resultado", "Falhou")
    choose_first_row(page)
    expect(page.get_by_text(f"Evento {events[-1]}")).to_be_visible()
    newer = failed_event(user)
    choose_row(page, 2)
    expect(page.get_by_text("2 eventos escolhidos")).to_be_visible()
    page.get_by_role("button", name="Ensaiar").click()
    expect(page.get_by_text("Mudaria algo: 2.")).to_be_visible()
    # What was chosen stays chosen although an event came in above it.
    tried = user.installation.database.execute(
        "select event_id from event_dry_runs where actor_id = %s", operator.user_id
    )
    assert {event for (event,) in tried} == {events[-1], events[-2]}
    choose_row(page, 2)
    expect(page.get_by_text(f"Evento {events[-1]}")).to_be_visible()
    choose_first_row(page)
    page.get_by_role("button", name="Reprocessar todos os que falharam").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("Reprocessar 4 eventos?")).to_be_visible()
    expect(dialog.get_by_text("A ação fica registrada em seu nome.")).to_be_visible()
    assert {verdict_of(user, event) for event in [*events, newer]} == {"failed"}
    dialog.get_by_role("button", name="Reprocessar").click()
    expect(page.get_by_text("4 eventos voltaram para a fila.")).to_be_visible()
    wait_for(lambda: {verdict_of(user, event) for event in [*events, newer]} == {"handled"})


def test_it_shows_staff_no_text_and_no_qr(new_browser_user: NewBrowserUser, operator: BrowserUser) -> None:
    user = new_browser_user(paired=True, path=None)
    user.installation.processes.control.inbound(user.session, "5511988887777", TEXT)
    database = user.installation.database
    codes = wait_for(
        lambda: database.execute(
            "select body::jsonb ->> 'urlcode' from events where session = %s and kind = 'qrcode'", user.session
        )
    )
    wait_for(
        lambda: database.execute(
            "select 1 from events where session = %s and kind = 'onmessage' and verdict <> 'received'", user.session
        )
    )
    page, frames = operator.page, []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: frames.append(str(frame))))
    operator.go("/events")
    look_for(page, user.session)
    seen = []
    for kind in ("onmessage", "qrcode"):
        choose(page, "Tipo", kind)
        choose_first_row(page)
        page.get_by_text("Forma do corpo").click()
        expect(page.get_by_role("cell", name=kind).first).to_be_visible()
        seen.append(page.content())
    everything = "\n".join([*seen, *frames])
    assert "urlcode" in everything
    assert TEXT not in everything
    assert "988887777" not in everything
    assert not [code for (code,) in codes if code in everything]


def test_it_says_what_to_do_where_nothing_is_found(new_browser_user: NewBrowserUser, operator: BrowserUser) -> None:
    failed_event(new_browser_user(path=None))
    operator.go("/events")
    look_for(operator.page, "ninguém com este nome")
    expect(operator.page.get_by_text("Nenhum evento com este filtro.")).to_be_visible()
