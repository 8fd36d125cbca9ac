"""Real Chromium, and a whole installation for it to look at."""

from collections.abc import Callable, Generator, Iterator
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect, sync_playwright

from bench.browser import admit, sign_in
from bench.browser import chromium as machine_chromium
from services.accounts import cookie_tokens, provisioning
from services.accounts.sign_in import open_sign_in
from services.db.actor import Role, person
from services.db.embedded import EmbeddedPostgres
from services.fleet import commands
from tests.support.browser_contexts import ContextPool, open_page
from tests.support.browser_user import BrowserUser, NewBrowserUser
from tests.support.installation import FAST_SETTINGS, Installation, open_installation, use_settings_of
from tests.support.waiting import wait_for

TIMEOUT_MS = 45_000
SNAPSHOT_MS = 5_000
expect.set_options(timeout=TIMEOUT_MS)
# Pages of one browser share what they have compiled.
ONE_RENDERER = "--process-per-site"
PHONE, UP = "5511987654321", "conectado"
OPENED = pytest.StashKey[list[BrowserContext]]()


@pytest.fixture(scope="package")  # no longer: its loop runs in this thread, where other tests need their own
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        try:
            with machine_chromium(playwright, ONE_RENDERER) as browser:
                yield browser
        except Error as error:
            pytest.skip(f"NO CHROMIUM: browser tests prove nothing here ({str(error).splitlines()[0]})")


@pytest.fixture(scope="package")
def contexts(chromium: Browser) -> Iterator[ContextPool]:
    pool = ContextPool(chromium)
    yield pool
    pool.close()


@pytest.fixture
def new_context(contexts: ContextPool, request: pytest.FixtureRequest) -> Iterator[Callable[..., BrowserContext]]:
    """Opens browsers that know nothing of each other."""
    opened = request.node.stash[OPENED] = []

    def make(**options: Any) -> BrowserContext:
        # Without a graphics card whatever moves on a page is drawn by the processors that the product runs on too.
        still = {"locale": "pt-BR", "timezone_id": "America/Sao_Paulo", "reduced_motion": "reduce"}
        context = contexts.take({**still, **options})
        context.set_default_timeout(TIMEOUT_MS)
        opened.append(context)
        return context

    yield make
    for context in opened:
        contexts.give_back(context)


@pytest.fixture(scope="package")  # no longer: what nobody looks at takes its share of the processors all the same
def shared_installation(
    cluster: EmbeddedPostgres, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """All processes, up for as long as there are browser tests. Modules take `installation`."""
    with open_installation(cluster, template, tmp_path_factory.mktemp("installation"), **FAST_SETTINGS) as opened:
        yield opened


@pytest.fixture(scope="module")
def installation(shared_installation: Installation) -> Iterator[Installation]:
    """All processes, with nobody's rows, for a module's tests; each test brings people of its own."""
    shared_installation.reset()
    with use_settings_of(shared_installation):
        yield shared_installation


@pytest.fixture
def new_browser_user(
    installation: Installation, new_context: Callable[..., BrowserContext]
) -> Iterator[NewBrowserUser]:
    """Signs a new person in, in a browser of their own. Options are the browser's: `color_scheme="dark"`.

    Where they are `paired` their WhatsApp is connected already. Where `path` is None no page is opened yet: to open one
    takes a second of the processors.
    """

    def make(role: Role = Role.USER, *, paired: bool = False, path: str | None = "/", **options: Any) -> BrowserUser:
        number = installation.database.one("select count(*) from auth.users")
        user_id = provisioning.create_user(
            f"pessoa{number}@example.com", "uma senha bem longa", role, f"Pessoa {number}"
        )
        if paired:
            _pair(installation, user_id)
        page, address = open_page(new_context(**options)), installation.processes.console_url
        token = cookie_tokens.encode_token(open_sign_in(user_id))
        if path is None:
            admit(page.context, address, token)
        else:
            sign_in(page, address + path, token)
        return BrowserUser(user_id, page, installation)

    yield make
    # A test that failed half-way must not fail those after it.
    installation.processes.control.clear_faults()
    installation.database.execute("update wpp_servers set drained_at = null where drained_at is not null")


def _pair(installation: Installation, user_id: UUID) -> None:
    """What "Conectar" and a phone's camera do."""
    name = f"user_{user_id}"
    commands.connect(person(user_id, Role.USER))
    wait_for(lambda: (found := installation.processes.control.session(name)) and found["status"] == "QRCODE")
    installation.processes.control.scan(name, PHONE)
    wait_for(
        lambda: installation.database.one("select status from whatsapp_sessions where user_id = %s", user_id) == UP
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test that failed had on its screens: the failure says only what was not there."""
    report = yield
    if report.when == "call" and report.failed:
        pages = [page for context in item.stash.get(OPENED, []) for page in context.pages]
        report.sections += [(f"screen {page.url}", _screen(page)) for page in pages]
    return report


def _screen(page: Page) -> str:
    try:
        return page.locator("body").aria_snapshot(timeout=SNAPSHOT_MS)
    except Error as error:
        return f"no picture of it: {error.message}"
