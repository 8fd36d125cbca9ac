"""From the webhook's POST to the QR visible in Chromium, through receiver, database, worker, console and browser."""

import base64
import json
import statistics
import time
import urllib.request
from collections.abc import Callable
from uuid import UUID

from playwright.sync_api import Page, sync_playwright

from bench.browser import chromium, sign_in
from bench.installation import BenchInstallation, figure, open_installation
from services.accounts import cookie_tokens
from services.db.actor import Role, person

TIMES = 20
PAUSE_SECONDS = 0.4

# Notes, on the clock that this process shares with the browser, when each picture was first painted.
WATCH = """
() => {
  window.painted = {};
  const look = () => {
    for (const host of document.querySelectorAll("*")) {
      const picture = host.shadowRoot?.querySelector(".picture[data-number]");
      if (picture?.querySelector("svg")) painted[picture.dataset.number] ??= performance.timeOrigin + performance.now();
    }
    requestAnimationFrame(look);
  };
  look();
}
"""


def run() -> None:
    """Twenty pictures, one after the other, each in an open page that nobody touches."""
    with (
        open_installation() as installation,
        installation.running("webhook", "worker", "console"),
        sync_playwright() as playwright,
        chromium(playwright) as browser,
    ):
        user_id, secret = installation.session("pareando")
        page = browser.new_context(locale="pt-BR").new_page()
        sign_in(page, installation.console, cookie_tokens.issue_token(person(user_id, Role.USER)))
        page.get_by_text("Preparando o código").wait_for()
        page.evaluate(WATCH)
        figures_of("qr_to_screen", installation, page, (user_id, secret), _picture)


def _picture(number: int) -> dict[str, str]:
    return {"event": "qrcode", "qrcode": "iVBORw0KGgo=", "urlcode": f"2@{number}" + "Qr7" * 70}


def figures_of(
    name: str,
    installation: BenchInstallation,
    page: Page,
    session: tuple[UUID, str],
    event: Callable[[int], dict[str, str]],
) -> None:
    """Post twenty events, one after the other, to a session (its user and its secret), and print how many milliseconds
    it took until the page had noted each one's number, from 1, in `painted`."""
    taken = sorted(_one(installation, page, session, number, event) for number in range(1, TIMES + 1))
    figure(f"{name}_ms_p50", statistics.median(taken), "ms")
    figure(f"{name}_ms_p95", taken[int(TIMES * 0.95) - 1], "ms")


def _one(
    installation: BenchInstallation,
    page: Page,
    session: tuple[UUID, str],
    number: int,
    event: Callable[[int], dict[str, str]],
) -> float:
    time.sleep(PAUSE_SECONDS)
    posted = time.time() * 1000
    post_event(installation, *session, event(number))
    page.wait_for_function(f"() => painted[{number}]", timeout=10_000)
    return float(page.evaluate(f"painted[{number}]")) - posted


def post_event(installation: BenchInstallation, user_id: UUID, secret: str, event: dict[str, str]) -> None:
    """Post one event as the server does, to the session's own address."""
    session = f"user_{user_id}"
    request = urllib.request.Request(
        f"{installation.webhook}/functions/v1/whatsapp-qr-webhook/{session}",
        json.dumps({**event, "session": session}).encode(),
        {
            "Content-Type": "application/json",
            "Authorization": "Basic " + base64.b64encode(f"wpp:{secret}".encode()).decode(),
        },
    )
    urllib.request.urlopen(request, timeout=10).close()


if __name__ == "__main__":
    run()
