"""Signing in and out in real Chromium against the real console: what AppTest cannot see, cookies above all."""

import contextlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from services import settings
from services.accounts import provisioning
from services.accounts.sign_in import SignInLocked, SignInRefused
from services.db.actor import Role
from tests.support.browser_contexts import open_page
from tests.support.databases import Database
from tests.support.installation import Installation

pytestmark = pytest.mark.browser

EMAIL = "ana@example.com"
PASSWORD = "uma senha bem longa"
COOKIE = "plushify_sign_in"
DEADLINE_SECONDS = 20


@dataclass(frozen=True)
class Console:
    """A running console and what it wrote so far."""

    url: str
    log: Path


@pytest.fixture
def database(installation: Installation) -> Database:
    """The installation's, with nobody in it: each test has the same person."""
    installation.reset()
    return installation.database


@pytest.fixture
def console(installation: Installation) -> Console:
    return Console(installation.processes.console_url, installation.processes.log_file("console"))


@pytest.fixture
def ana(database: Database) -> UUID:
    return provisioning.create_user(EMAIL, PASSWORD, Role.USER, "Ana Lima")


@pytest.fixture
def tab(console: Console, ana: UUID, new_context: Callable[[], BrowserContext]) -> Page:
    """A fresh browser's first tab, at the sign-in form."""
    return new_browser_user(new_context(), console)


def until(condition: Callable[[], object], message: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, message
        time.sleep(0.02)


def new_browser_user(context: BrowserContext, console: Console, path: str = "/") -> Page:
    page = open_page(context)
    page.goto(console.url + path)
    return page


def submit(page: Page, email: str = EMAIL, password: str = PASSWORD) -> None:
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Senha", exact=True).fill(password)
    page.get_by_test_id("stFormSubmitButton").get_by_role("button").click()


def sign_in(page: Page, email: str = EMAIL, password: str = PASSWORD) -> None:
    submit(page, email, password)
    expect_in(page)


def expect_in(page: Page) -> None:
    expect(page.get_by_role("button", name="Sair")).to_be_visible(timeout=DEADLINE_SECONDS * 1000)


def expect_out(page: Page) -> None:
    expect(page.get_by_label("Senha", exact=True)).to_be_visible(timeout=DEADLINE_SECONDS * 1000)
    expect(page.get_by_role("button", name="Sair")).to_have_count(0)


def sign_out(page: Page) -> None:
    page.get_by_role("button", name="Sair").click()
    expect_out(page)


def has_cookie(page: Page) -> bool:
    return any(cookie.get("name") == COOKIE for cookie in page.context.cookies())


def rerun(page: Page) -> None:
    """Make the page's script run once more, as any click of the person would, unless it has just done so by itself."""
    with contextlib.suppress(PlaywrightTimeout):  # the menu leaves with a page that shuts while it is being clicked
        page.get_by_test_id("stSidebarNav").get_by_role("link").last.click(timeout=3000)


def test_it_stays_signed_in_after_a_reload_and_in_a_second_tab(tab: Page, console: Console) -> None:
    sign_in(tab)
    expect(tab.get_by_text("Ana Lima")).to_be_visible()
    until(lambda: has_cookie(tab), "no cookie was set")
    tab.reload()
    expect_in(tab)
    expect_in(new_browser_user(tab.context, console))


def test_it_sets_a_cookie_that_no_script_can_read(tab: Page) -> None:
    sign_in(tab)
    until(lambda: has_cookie(tab), "no cookie was set")
    (cookie,) = [cookie for cookie in tab.context.cookies() if cookie.get("name") == COOKIE]
    assert cookie.get("httpOnly") is True
    assert cookie.get("sameSite") == "Lax"
    assert abs(cookie.get("expires", 0) - time.time() - 7 * 24 * 3600) < 120
    assert COOKIE not in str(tab.evaluate("document.cookie"))
    assert str(cookie.get("value")) not in tab.content()


def test_it_keeps_the_address_that_somebody_came_with(
    console: Console, ana: UUID, new_context: Callable[[], BrowserContext]
) -> None:
    page = new_browser_user(new_context(), console, "/send")
    expect_out(page)
    sign_in(page)
    assert page.url == f"{console.url}/send"
    expect(page.get_by_role("heading", name="Enviar")).to_be_visible()


def test_it_signs_out_for_good(tab: Page, console: Console) -> None:
    sign_in(tab)
    until(lambda: has_cookie(tab), "no cookie was set")
    copy = [cookie for cookie in tab.context.cookies() if cookie.get("name") == COOKIE]
    sign_out(tab)
    until(lambda: not has_cookie(tab), "the cookie is still there")
    tab.reload()
    expect_out(tab)
    tab.context.add_cookies(copy)  # type: ignore[arg-type]
    expect_out(new_browser_user(tab.context, console))


def test_it_signs_out_the_other_tabs_of_the_browser(tab: Page, console: Console) -> None:
    sign_in(tab)
    until(lambda: has_cookie(tab), "no cookie was set")
    other = new_browser_user(tab.context, console)
    expect_in(other)
    sign_out(tab)
    rerun(other)
    expect_out(other)


def test_it_signs_out_and_in_again_in_one_tab_again_and_again(tab: Page) -> None:
    for number in range(2):
        sign_in(tab)
        sign_out(tab)
        sign_in(tab)  # at once: the cookie's removal may still be on its way
        until(lambda: has_cookie(tab), f"no cookie was set at round {number}")
        tab.reload()
        expect_in(tab)
        sign_out(tab)


def test_it_says_the_same_for_a_wrong_password_and_an_unknown_name(tab: Page) -> None:
    said = []
    for email, password in ((EMAIL, "uma senha errada"), ("ninguem@example.com", PASSWORD)):
        submit(tab, email, password)
        alert = tab.get_by_test_id("stAlert").filter(has_text=SignInRefused.message)
        expect(alert).to_be_visible()
        said.append(alert.inner_html())
        tab.reload()
    assert said[0] == said[1]
    assert not has_cookie(tab)


@pytest.mark.parametrize("email", [EMAIL, pytest.param("ninguem@example.com", marks=pytest.mark.slow)])
def test_it_locks_a_name_out_across_browsers(
    tab: Page, console: Console, new_context: Callable[[], BrowserContext], database: Database, email: str
) -> None:
    other = new_browser_user(new_context(), console)
    for number in range(5):
        page = (tab, other)[number % 2]
        submit(page, email, f"palpite número {number}")
        attempts = partial(database.one, "select count(*) = %s from sign_in_attempts", number + 1)
        until(attempts, "the attempt was not recorded")
        expect(page.get_by_text(SignInRefused.message)).to_be_visible()
    for page in (tab, other, new_browser_user(new_context(), console)):
        submit(page, email, PASSWORD)
        expect(page.get_by_text(SignInLocked.message)).to_be_visible()
        expect(page.get_by_text(re.compile(r"Espere 1[45] min"))).to_be_visible()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("update accounts set active = false where user_id = %s", id="deactivated", marks=pytest.mark.slow),
        pytest.param("update accounts set token_version = token_version + 1 where user_id = %s", id="revoked"),
    ],
)
def test_it_shuts_the_open_tab_of_whoever_is_shut_out(tab: Page, database: Database, ana: UUID, change: str) -> None:
    sign_in(tab)
    until(lambda: has_cookie(tab), "no cookie was set")
    database.execute(change, ana)
    rerun(tab)
    expect_out(tab)
    until(lambda: not has_cookie(tab), "the cookie is still there")
    tab.reload()
    expect_out(tab)


def test_it_lets_a_deactivated_user_see_the_form_and_come_back(tab: Page, database: Database, ana: UUID) -> None:
    sign_in(tab)
    until(lambda: has_cookie(tab), "no cookie was set")
    database.execute("update accounts set active = false where user_id = %s", ana)
    tab.reload()
    submit(tab)
    expect(tab.get_by_text(SignInRefused.message)).to_be_visible()
    database.execute("update accounts set active = true where user_id = %s", ana)
    sign_in(tab)


def test_it_follows_a_change_of_role_in_an_open_tab(tab: Page, database: Database, ana: UUID) -> None:
    set_role = "update auth.users set raw_app_meta_data = jsonb_build_object('role', %s::text) where id = %s"
    menu = tab.get_by_test_id("stSidebarNav")
    sign_in(tab)
    expect(menu.get_by_text("Sessões")).to_have_count(0)
    database.execute(set_role, "operator", ana)
    rerun(tab)
    menu.get_by_text("Sessões").click()
    expect(tab.get_by_role("heading", name="Sessões")).to_be_visible()
    database.execute(set_role, "user", ana)
    rerun(tab)
    expect(menu.get_by_text("Sessões")).to_have_count(0)
    expect(tab.get_by_role("heading", name="Sessões")).to_have_count(0)


def test_it_shows_staff_pages_to_nobody_else_by_their_address(tab: Page, console: Console) -> None:
    sign_in(tab)
    until(lambda: has_cookie(tab), "no cookie was set")
    page = new_browser_user(tab.context, console, "/sessions")
    expect_in(page)
    expect(page.get_by_role("heading", name="Sessões")).to_have_count(0)


def test_it_loads_nothing_from_elsewhere_and_breaks_no_rule_of_its_own(
    console: Console, ana: UUID, new_context: Callable[[], BrowserContext]
) -> None:
    context = new_context()
    page = context.new_page()
    requested: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    answer = page.goto(console.url)
    assert answer is not None
    assert "frame-ancestors 'self'" in answer.headers["content-security-policy"]
    sign_in(page)
    until(lambda: has_cookie(page), "no cookie was set")
    assert [url for url in requested if not url.startswith((console.url, "data:", "blob:"))] == []
    assert [text for text in complaints if "Content Security Policy" in text] == []


def test_it_writes_no_secret_into_pages_frames_or_log(
    console: Console, database: Database, ana: UUID, new_context: Callable[[], BrowserContext]
) -> None:
    context = new_context()
    page = context.new_page()
    frames: list[bytes] = []

    def keep(payload: str | bytes) -> None:
        frames.append(payload if isinstance(payload, bytes) else payload.encode())

    page.on("websocket", lambda ws: ws.on("framereceived", keep))
    page.goto(console.url)
    submit(page, EMAIL, "uma senha errada")
    expect(page.get_by_text(SignInRefused.message)).to_be_visible()
    sign_in(page)
    until(lambda: has_cookie(page), "no cookie was set")
    tokens = [str(cookie.get("value")) for cookie in context.cookies() if cookie.get("name") == COOKIE]
    html = page.content()
    sign_out(page)
    stored = database.one("select encrypted_password from auth.users where id = %s", ana)
    received = b"".join(frames).decode(errors="replace")
    log = console.log.read_text()
    assert received
    for secret in (*settings.get().secret_values(), stored, *tokens, PASSWORD, "uma senha errada"):
        assert secret not in html
        assert secret not in received
        assert secret not in log
    for line in log.splitlines():
        if line.startswith("{"):
            json.loads(line)
