"""Real Chromium for the measurements and the screenshots."""

import contextlib
import shutil
from collections.abc import Iterator

from playwright.sync_api import Browser, BrowserContext, Page, Playwright

from ui.shell.cookie import COOKIE_NAME

# Debian's Chromium, as root and where nothing of the outside is reachable.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
# The same engine without a window first: it spares the processor, which the product runs on too, half of a page.
PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


@contextlib.contextmanager
def chromium(playwright: Playwright, *flags: str) -> Iterator[Browser]:
    """The machine's Chromium, with more `flags`; Playwright's own where the machine has none."""
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    browser = playwright.chromium.launch(executable_path=found, args=[*FLAGS, *flags])
    try:
        yield browser
    finally:
        browser.close()


def sign_in(page: Page, address: str, token: str) -> None:
    """Open the console as the person of `token`."""
    admit(page.context, address, token)
    page.goto(address)
    idle(page)


def admit(context: BrowserContext, address: str, token: str) -> None:
    """Let a browser open the console as the person of `token`."""
    context.add_cookies([{"name": COOKIE_NAME, "value": token, "url": address}])


def idle(page: Page) -> None:
    """Wait until Streamlit has drawn what it was asked for."""
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=20_000)
