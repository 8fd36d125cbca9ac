"""Every page as everybody may meet it: in both languages and themes, with a screen reader's eyes, and on a phone."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from axe_playwright_python.sync_playwright import Axe
from babel.messages.pofile import read_po
from playwright.sync_api import BrowserContext, Page, TimeoutError

from bench.browser import admit, idle
from demo import message_history, month, people, session_history
from services.accounts import cookie_tokens, sign_in
from services.db.embedded import EmbeddedPostgres
from tests.support.browser_contexts import open_page
from tests.support.installation import Installation, open_installation, use_settings_of
from tests.support.paths import ROOT

pytestmark = pytest.mark.browser

# The demo's sessions are not in the sandbox: nobody shall ask it about them.
QUIET = {
    "HEALTH_PROOF_SECONDS": "86400",
    "HEALTH_ASKS_PER_DAY": "0",
    "HEALTH_HEAL": "false",
    "HEALTH_SWEEP_SECONDS": "3600",
}
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}
REDRAWN_MS = 10_000
SEVERE = ("serious", "critical")
# Canvas grids keep a copy of their cells for screen readers, hidden from everybody else.
WIDER_THAN_THE_SCREEN = """() => {
  const width = document.documentElement.clientWidth
  const out = [...document.querySelectorAll('[data-testid=stMain] *')].filter(one => {
    const box = one.getBoundingClientRect()
    if (!box.width || !box.height || box.right <= width + 1) return false
    // What scrolls by itself may be as wide as it likes.
    for (let up = one.parentElement; up; up = up.parentElement) {
      const how = getComputedStyle(up).overflowX
      if (up.dataset.testid === 'stMain') break
      if (how === 'auto' || how === 'scroll' || how === 'hidden') return false
    }
    return true
  })
  return out.slice(0, 3).map(one => one.outerHTML.slice(0, 200))
}"""


@pytest.fixture(scope="module")
def installation(
    cluster: EmbeddedPostgres, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """An installation with a small demo in it."""
    with (
        open_installation(cluster, template, tmp_path_factory.mktemp("demo"), **QUIET) as opened,
        use_settings_of(opened),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(message_history, "MESSAGE_COUNT", 3000)
        patch.setattr(session_history, "EVENT_COUNT", 1000)
        month.fill_installation()
        yield opened


def addresses(installation: Installation, user_id: UUID) -> dict[str, str]:
    """Page → address, with what it needs to show something."""
    message = installation.database.one(
        "select id from messages where user_id = %s and direction = 'out' and state = 'failed' limit 1", user_id
    )
    query = {"session": f"?user={user_id}", "message": f"?id={message}", "diagnostics": f"?user={user_id}"}
    pages = sorted(path.stem for path in (ROOT / "pages").glob("*.py") if path.stem != "__init__")
    return {name: "/" if name == "my_whatsapp" else f"/{name}{query.get(name, '')}" for name in pages}


@pytest.fixture(scope="module")
def shown(installation: Installation) -> dict[str, str]:
    """Page → address, as somebody sees it who has something on each."""
    return addresses(installation, sender(installation))


def sender(installation: Installation) -> UUID:
    """Who has most to show on their own pages."""
    found: UUID = installation.database.one(
        "select user_id from messages where state = 'failed' group by 1 order by count(*) desc, 1 limit 1"
    )
    return found


def admin(installation: Installation) -> UUID:
    found: UUID = installation.database.one("select id from auth.users where email = %s", people.ADMIN_EMAIL)
    return found


@pytest.mark.timeout(600)
def test_it_can_be_read_by_everybody_and_on_a_phone_in_portuguese(
    installation: Installation, new_context: Callable[..., BrowserContext], shown: dict[str, str]
) -> None:
    """Staff see each page, those of everybody too."""
    page = open_page(new_context(locale="pt-BR", color_scheme="light", viewport=DESKTOP))
    faults = [f"sign-in: {fault}" for fault in _faults_of_the_form(page, installation, "pt-BR")]
    sign_in_as(admin(installation), page, installation)
    for name, address in shown.items():
        faults += [f"{name}: {fault}" for fault in _faults_at(page, installation, address, "pt-BR")]
    assert not faults, "\n".join(faults)


@pytest.mark.timeout(600)
def test_it_can_be_read_by_everybody_and_on_a_phone_in_english_and_in_the_dark(
    installation: Installation, new_context: Callable[..., BrowserContext], shown: dict[str, str]
) -> None:
    """A user sees their own pages, staff the others."""
    page = open_page(new_context(locale="en-US", color_scheme="dark", viewport=DESKTOP))
    faults = [f"sign-in: {fault}" for fault in _faults_of_the_form(page, installation, "en-US")]
    for person, for_everybody in ((sender(installation), True), (admin(installation), False)):
        sign_in_as(person, page, installation)
        for name, address in shown.items():
            if _is_for_everybody(name) == for_everybody:
                faults += [f"{name}: {fault}" for fault in _faults_at(page, installation, address, "en-US")]
    assert not faults, "\n".join(faults)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_staff_see_of_everybodys_pages_can_be_read_in_english_and_in_the_dark(
    installation: Installation, new_context: Callable[..., BrowserContext], shown: dict[str, str]
) -> None:
    page = open_page(new_context(locale="en-US", color_scheme="dark", viewport=DESKTOP))
    sign_in_as(admin(installation), page, installation)
    faults: list[str] = []
    for name, address in shown.items():
        if _is_for_everybody(name):
            faults += [f"{name}: {fault}" for fault in _faults_at(page, installation, address, "en-US")]
    assert not faults, "\n".join(faults)


def sign_in_as(person: UUID, page: Page, installation: Installation) -> None:
    admit(page.context, installation.processes.console_url, cookie_tokens.encode_token(sign_in.open_sign_in(person)))


def _faults_at(page: Page, installation: Installation, address: str, language: str) -> Iterator[str]:
    page.goto(installation.processes.console_url + address)
    yield from _faults(page, language)


def _faults_of_the_form(page: Page, installation: Installation, language: str) -> Iterator[str]:
    page.goto(installation.processes.console_url)
    page.get_by_test_id("stForm").wait_for()
    yield from _faults(page, language)


def _is_for_everybody(name: str) -> bool:
    """Whether the page's guard names no role."""
    return "guard()" in (ROOT / "pages" / f"{name}.py").read_text()


def _faults(page: Page, language: str) -> Iterator[str]:
    _settled(page)
    if page.get_by_test_id("stException").count():
        yield "a traceback"
    if page.evaluate("document.documentElement.lang") != language.partition("-")[0]:
        yield "its language is not said"
    if language.startswith("en"):
        yield from (f"still in Portuguese: {text!r}" for text in _portuguese(page))
    yield from _violations(page)
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    _settled(page)
    # Charts and tables draw themselves anew a moment after the window has changed: what counts is what stays.
    with contextlib.suppress(TimeoutError):
        page.wait_for_function(f"() => !({WIDER_THAN_THE_SCREEN})().length", timeout=REDRAWN_MS)
    yield from (f"wider than a phone: {what}" for what in page.evaluate(WIDER_THAN_THE_SCREEN))
    page.set_viewport_size(DESKTOP)  # type: ignore[arg-type]


def _violations(page: Page) -> list[str]:
    """What axe finds. It looks for seconds, in which a page that is live may redraw a part, and what is redrawn is pale
    for a moment: what is there in both of two looks is there."""
    first = _look(page)
    if not first:
        return first
    _settled(page)
    return [one for one in _look(page) if one in first]


def _look(page: Page) -> list[str]:
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [f"{one['id']}: {_shown(one)}" for one in found if one["impact"] in SEVERE]


# What fades in or out has other colours for a moment than those in which it is read.
SETTLED = """() => !document.querySelector('[data-testid=stSkeleton], [data-testid=stSpinner], [data-stale=true]')
  && document.getAnimations().every((one) => !(one instanceof CSSTransition) || one.playState !== 'running')"""


def _settled(page: Page) -> None:
    idle(page)
    page.wait_for_function(SETTLED)


def _shown(violation: dict[str, Any]) -> str:
    return "; ".join(f"{node['html'][:160]} ({node['failureSummary'][:200]})" for node in violation["nodes"][:2])


def _portuguese(page: Page) -> list[str]:
    """Texts of the screen that have a translation and are not translated."""
    with Path(ROOT / "locales" / "en" / "LC_MESSAGES" / "console.po").open("rb") as file:
        untranslated = {str(one.id) for one in read_po(file) if one.id and one.id != one.string}
    shown = {line.strip() for line in page.inner_text("body").splitlines()}
    return sorted(shown & untranslated)
