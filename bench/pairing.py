"""From a phone's scan to "Conectado!", whether that is ever taken back, and how soon what crashed is up again.

On the real server's clock. Nobody acts but for the click on "Conectar" and the phone; after a crash only the worker.
"""

import json
import logging
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

import structlog
from playwright.sync_api import Browser, Page, sync_playwright

from bench.browser import chromium, sign_in
from bench.installation import BenchInstallation, figure, open_installation
from sandbox.server import SandboxServer, running_sandbox
from sandbox.state import Config
from services import settings
from services.accounts import cookie_tokens
from services.db.actor import Actor, Role, person
from services.messaging import outbox

PAIRINGS = 50
# How long after its scan a pairing is watched for a step back.
WATCHED_SECONDS = 15.0
CRASHES = 20
# How long a server that is started anew is away.
DOWN_SECONDS = 3.0
POLL_SECONDS = 0.1
LIMIT_SECONDS = 180.0
RECIPIENT = "5511977776666"

# Notes, on the clock that this process shares with the browser, when the page first said so, and what it said instead
# after that, if ever it did.
WATCH = """
() => {
  window.watched = {};
  const look = () => {
    const told = [...document.querySelectorAll("h3")].map((heading) => heading.innerText);
    if (told.some((words) => words.includes("Conectado!")))
      watched.connected ??= performance.timeOrigin + performance.now();
    else if (watched.connected && told.length) watched.back ??= told.join(", ");
    requestAnimationFrame(look);
  };
  look();
}
"""
BACK = """
select count(*) from session_timeline t join whatsapp_sessions s on s.id = t.session_id
 where s.user_id = %s and t.kind = 'state' and t.action in ('pareando', 'desconectado')
     and t.occurred_at <= to_timestamp(%s)
   and t.occurred_at > (select min(occurred_at) from session_timeline where session_id = t.session_id
       and action = 'conectado')
"""


@dataclass(frozen=True)
class Pairing:
    """One that was scanned at `scanned` (seconds since 1970) and seen as connected `taken` ms later, on `page`."""

    user_id: UUID
    page: Page
    scanned: float
    taken: float


def run() -> None:
    """The pairings one after the other, and then the crashes among the sessions that they left."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with open_installation() as installation:
        ((url, secret),) = settings.get().wppconnect.servers().items()
        with (
            running_sandbox(Config(secret=secret), int(url.rpartition(":")[2])) as server,
            installation.running("webhook", "worker", "console"),
        ):
            with sync_playwright() as playwright, chromium(playwright) as browser:
                people = _pairings(installation, browser)
            _crashes(installation, server, people)


# --- pairing ----------------------------------------------------------------------------------------------------------


def _pairings(installation: BenchInstallation, browser: Browser) -> list[Actor]:
    """Pair one after the other; returns whose sessions are up now."""
    watched: deque[Pairing] = deque()
    done: list[Pairing] = []
    back = 0
    for number in range(PAIRINGS):
        watched.append(_pair(installation, browser, number))
        while watched and time.time() - watched[0].scanned > WATCHED_SECONDS:
            back += _went_back(installation, watched[0])
            done.append(watched.popleft())
    while watched:
        time.sleep(max(watched[0].scanned + WATCHED_SECONDS - time.time(), 0))
        back += _went_back(installation, watched[0])
        done.append(watched.popleft())
    figure("scan_to_connected_ms_p95", _p95([pairing.taken for pairing in done]), "ms")
    figure("pairing_steps_back", back, "pairings")
    return [person(pairing.user_id, Role.USER) for pairing in done]


def _pair(installation: BenchInstallation, browser: Browser, number: int) -> Pairing:
    user_id = uuid4()
    installation.execute("insert into auth.users (id, email) values (%s, %s)", user_id, f"{user_id}@example.com")
    page = browser.new_context(locale="pt-BR").new_page()
    sign_in(page, installation.console, cookie_tokens.issue_token(person(user_id, Role.USER)))
    page.get_by_role("button", name="Conectar", exact=True).click()
    page.locator(".picture svg").wait_for()
    page.evaluate(WATCH)
    scanned = time.time()
    _push(installation, f"user_{user_id}", "scan", phone=f"55119{80_000_000 + number}")
    page.wait_for_function("() => watched.connected", timeout=60_000)
    return Pairing(user_id, page, scanned, float(page.evaluate("watched.connected")) - scanned * 1000)


def _went_back(installation: BenchInstallation, pairing: Pairing) -> bool:
    """Whether the page or the table has said anything else since; the page is closed."""
    shown = pairing.page.evaluate("watched.back")
    pairing.page.context.close()
    ((steps,),) = installation.execute(BACK, pairing.user_id, pairing.scanned + WATCHED_SECONDS)
    return bool(shown or steps)


# --- crashes ----------------------------------------------------------------------------------------------------------


def _crashes(installation: BenchInstallation, server: SandboxServer, people: Sequence[Actor]) -> None:
    """One after the other, each until all that it hurt is up and has sent a message."""

    def restart(_name: str) -> None:
        server.stop()
        time.sleep(DOWN_SECONDS)
        server.start()

    kinds: dict[str, Callable[[str], None]] = {
        "chrome": lambda name: _push(installation, name, "chrome-dies"),
        "page": lambda name: _push(installation, name, "page-crashes"),
        "server": restart,
    }
    taken: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(CRASHES):
        kind = list(kinds)[number % len(kinds)]
        hurt = people[number % len(people)]
        begun = time.monotonic()
        kinds[kind](f"user_{hurt.user_id}")
        _wait_until_up(installation, server, people, f"{kind} {number}", begun)
        taken[kind].append(time.monotonic() - begun)
        _send(installation, hurt, begun)
    figure("crash_to_connected_s_p95", _p95([seconds for of_kind in taken.values() for seconds in of_kind]), "s")
    for kind, seconds in taken.items():
        figure(f"crash_to_connected_{kind}_s_max", max(seconds), "s")


def _wait_until_up(
    installation: BenchInstallation, server: SandboxServer, people: Sequence[Actor], crash: str, begun: float
) -> None:
    """Until the console says so of all sessions and the server has a living page for each of them."""
    names = [f"user_{actor.user_id}" for actor in people]
    up = "select count(*) from whatsapp_sessions where status = 'conectado' and session_id = any(%s)"
    while not all(server.world.sessions[name].connected for name in names) or installation.execute(up, names) != [
        (len(names),)
    ]:
        assert time.monotonic() - begun < LIMIT_SECONDS, f"what crashed does not come back: {crash}"
        time.sleep(POLL_SECONDS)


def _send(installation: BenchInstallation, actor: Actor, begun: float) -> None:
    """That it is up is not only said: a message leaves."""
    body = uuid4().hex
    outbox.queue(actor, RECIPIENT, body, body)
    while body not in [sending["body"] for sending in _sent(installation, f"user_{actor.user_id}")]:
        assert time.monotonic() - begun < LIMIT_SECONDS, "it says that it is up, and sends nothing"
        time.sleep(POLL_SECONDS)


def _sent(installation: BenchInstallation, session: str) -> list[dict[str, object]]:
    with urllib.request.urlopen(f"{installation.sandbox}/_sandbox/sent?session={session}", timeout=10) as answer:
        sent: list[dict[str, object]] = json.load(answer)
        return sent


def _push(installation: BenchInstallation, session: str, control: str, **body: str) -> None:
    """Push one of the stand-in's own buttons."""
    request = urllib.request.Request(
        f"{installation.sandbox}/_sandbox/sessions/{session}/{control}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=10).close()


def _p95(taken: Sequence[float]) -> float:
    return sorted(taken)[max(int(len(taken) * 0.95) - 1, 0)]


if __name__ == "__main__":
    run()
