"""The page "Relatórios", against all the real processes: figures that come by themselves, files that harm nobody."""

import io
import os
from pathlib import Path

import pytest
from openpyxl import load_workbook
from playwright.sync_api import Page, expect

from services.db.actor import Role
from tests.support.browser_user import NewBrowserUser
from tests.support.waiting import wait_for

pytestmark = pytest.mark.browser

# Where to leave pictures of what the tests see, for whoever wants to look.
PICTURES = os.environ.get("PLUSHIFY_TEST_PICTURES")
MONTH = """
insert into messages (session_id, user_id, direction, state, failure, phone, run_at, sending_at, sent_at, delivered_at,
  read_at)
select s.id, s.user_id, case when inbound then 'in' else 'out' end,
       case when inbound then 'received' when failed then 'failed' when unread then 'delivered' else 'read' end,
       case when failed then 'not_on_whatsapp' end, '55119' || lpad(mod(n, 39)::text, 8, '0'), occurred_at,
           occurred_at, occurred_at,
       case when not inbound and not failed then occurred_at + interval '3 seconds' end,
       case when not inbound and not failed and not unread then occurred_at + interval '5 minutes' end
  from whatsapp_sessions s, generate_series(1, 3000) n,
       lateral (select mod(n, 4) = 0, mod(n, 17) = 0 and mod(n, 4) > 0, mod(n, 5) = 0) x (inbound, failed, unread),
       lateral (select date_trunc('hour', now()) - n * interval '13 minutes' - mod(n,
           7) * interval '40 minutes') y (occurred_at)
 where s.user_id = %s and extract(hour from occurred_at at time zone 'America/Sao_Paulo') between 7 and 20
"""


def picture(page: Page, name: str) -> None:
    if PICTURES:
        before = page.viewport_size or {"width": 1280, "height": 720}
        page.set_viewport_size({"width": before["width"], "height": 2400})
        page.wait_for_timeout(1500)
        page.screenshot(path=Path(PICTURES) / f"{name}.png", full_page=True)
        page.set_viewport_size(before)


def figure(page: Page, name: str) -> str:
    return page.get_by_test_id("stMetric").filter(has_text=name).first.get_by_test_id("stMetricValue").inner_text()


def test_it_fills_before_ones_eyes_and_leaves_as_files(new_browser_user: NewBrowserUser) -> None:
    user = new_browser_user(path="/reports")
    page, database = user.page, user.installation.database
    expect(page.get_by_text("Nada neste período.")).to_be_visible()
    session_id = database.one(
        "insert into whatsapp_sessions (user_id, session_id, status) values (%s, %s, 'desconectado') returning id",
        user.user_id, user.session,
    )  # fmt: skip
    database.execute(
        "insert into messages (session_id, user_id, direction, state, phone, sending_at, delivered_at, read_at)"
        " values (%s, %s, 'out', 'read', '5511987654321', now(), now(), now())",
        session_id, user.user_id,
    )  # fmt: skip
    expect(page.get_by_text("Enviadas", exact=True).first).to_be_visible()
    assert figure(page, "Enviadas") == "1"
    database.execute(MONTH, user.user_id)
    page.get_by_text("30 dias").click()
    expect(page.get_by_text("Esse número não está no WhatsApp; nada foi enviado.")).to_be_visible()
    expect(page.locator("[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg")).to_have_count(2)
    picture(page, "reports-light")
    page.get_by_role("button", name="Baixar").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Todas as tabelas (XLSX)").click()
    book = load_workbook(io.BytesIO(Path(download.value.path()).read_bytes()))
    assert book.sheetnames[:2] == ["Resumo", "Por que falharam"]
    sent = {row[0]: row[1] for row in book["Resumo"].iter_rows(values_only=True)}["Enviadas"]
    assert sent == figure(page, "Enviadas") != "1"
    with page.expect_download() as download:
        page.get_by_role("button", name="Resumo para imprimir (PDF)").click()
    assert Path(download.value.path()).read_bytes().startswith(b"%PDF-")


def test_staff_see_everybody_and_anybody_in_the_dark_and_on_a_phone(new_browser_user: NewBrowserUser) -> None:
    owner = new_browser_user(path=None)
    staff = new_browser_user(Role.OPERATOR, path=None, color_scheme="dark")
    page, database = staff.page, staff.installation.database
    database.execute("delete from messages")
    email = database.one("select email from auth.users where id = %s", owner.user_id)
    database.execute(
        "insert into whatsapp_sessions (user_id, session_id, status) values (%s, %s, 'desconectado')",
        owner.user_id, owner.session,
    )  # fmt: skip
    database.execute(MONTH, owner.user_id)
    wait_for(lambda: database.one("select count(*) from report_dirty_buckets") == 0, 30, "the figures to be counted")
    staff.go("/reports")
    page.get_by_text("30 dias").click()
    expect(page.get_by_role("cell", name=email).or_(page.get_by_role("rowheader", name=email)).first).to_be_visible()
    picture(page, "reports-dark")
    page.set_viewport_size({"width": 390, "height": 844})
    picture(page, "reports-phone")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
