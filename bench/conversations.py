"""Conversations: from the webhook's POST to the bubble in Chromium, how opening one grows with the table, and files.

The receiver's memory is read from the kernel's own high-water mark (Linux).
"""

import base64
import json
import os
import re
import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID, uuid4

import httpx
from playwright.sync_api import sync_playwright

from bench.browser import chromium, idle, sign_in
from bench.installation import BenchInstallation, figure, open_installation
from bench.screen import figures_of, post_event
from services.accounts import cookie_tokens
from services.db.actor import Actor, Role, person
from services.inbound import conversations

OPENINGS = 15
SMALL, LARGE = 1_000, 1_000_000
MB = 1024 * 1024
BODY_MB, BODIES = 16, 8
ANA = "5511987654321@c.us"

# Notes, on the clock that this process shares with the browser, when each message was first painted.
WATCH = """
() => {
  window.painted = {};
  const look = () => {
    for (const found of document.querySelector(".st-key-thread_messages")?.innerText.matchAll(/numero (\\d+)/g) ?? [])
      painted[found[1]] ??= performance.timeOrigin + performance.now();
    requestAnimationFrame(look);
  };
  look();
}
"""


def run() -> None:
    """The three figures, each on an installation of its own."""
    _to_screen()
    _growth()
    _files()


# --- to the screen ----------------------------------------------------------------------------------------------------


def _to_screen() -> None:
    with (
        open_installation() as installation,
        installation.running("webhook", "worker", "console"),
        sync_playwright() as playwright,
        chromium(playwright) as browser,
    ):
        user_id, secret = installation.session()
        page = browser.new_context(locale="pt-BR").new_page()
        sign_in(page, installation.console, cookie_tokens.issue_token(person(user_id, Role.USER)))
        post_event(installation, user_id, secret, _message(0))
        page.goto(f"{installation.console}/conversations")
        page.get_by_role("button", name=re.compile("Ana")).click()
        page.locator(".st-key-thread_messages").get_by_text("numero 0").wait_for()
        idle(page)
        page.evaluate(WATCH)
        figures_of("inbound_to_screen", installation, page, (user_id, secret), _message)


def _message(number: int) -> dict[str, str]:
    return {"event": "onmessage", "id": f"false_{ANA}_{number}", "from": ANA, "type": "chat", "notifyName": "Ana",
            "body": f"numero {number}", "t": str(int(time.time()))}  # fmt: skip


# --- a table that grows -----------------------------------------------------------------------------------------------


def _growth() -> None:
    """Opening a thread of 1,000 messages, alone in the table and among 1,000,000; list and first page, as the page
    reads them."""
    with open_installation() as installation:
        user_id, _ = installation.session()
        actor = person(user_id, Role.USER)
        _insert_rows(installation, user_id, SMALL)
        small = _opening(actor)
        others = [installation.session()[0] for _ in range(9)]
        for other in (user_id, *others):
            _insert_rows(installation, other, (LARGE - SMALL) // 10, contacts=1_000)
        installation.execute("analyze")
        large = _opening(actor)
    figure("thread_small_ms", small * 1000, "ms")
    figure("thread_large_ms", large * 1000, "ms")
    figure("thread_growth", large / small, "ratio")


def _opening(actor: Actor) -> float:
    contact = conversations.list_chats(actor, "principal").chats[0].contact.id
    taken = []
    for _ in range(OPENINGS):
        started = time.perf_counter()
        conversations.list_chats(actor)
        conversations.get_thread(actor, contact)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def _insert_rows(installation: BenchInstallation, user_id: UUID, messages: int, contacts: int = 0) -> None:
    """`messages` with one contact (the main one), or spread over so many `contacts` of their own."""
    made = contacts or 1
    prefix = "outro" if contacts else "principal"
    installation.execute(
        "insert into contacts (session_id, user_id, address, name, last_message_at)"
        " select id, user_id, %s || n || '@g.us', %s || n, now() - n * interval '1 minute'"
        " from whatsapp_sessions, generate_series(1, %s) n where user_id = %s",
        uuid4().hex,
        prefix,
        made,
        user_id,
    )
    installation.execute(
        "insert into messages (session_id, user_id, contact_id, direction, state, phone, body, occurred_at, wpp_id)"
        " select c.session_id, c.user_id, c.id, 'in', 'received', '5511987654321', 'mensagem ' || n,"
        "  now() - n * interval '1 minute', c.id || '_' || n"
        " from contacts c, generate_series(1, %s) n where c.user_id = %s and c.name like %s",
        messages // made,
        user_id,
        prefix + "%",
    )


# --- files ------------------------------------------------------------------------------------------------------------


def _files() -> None:
    """Eight files of 16 MB at once, through the receiver into the store."""
    with open_installation() as installation, installation.running("webhook"):
        user_id, secret = installation.session()
        bodies = [_body(user_id, number) for number in range(BODIES)]
        before = _peak_mb(installation)
        started = time.perf_counter()
        with ThreadPoolExecutor(BODIES) as pool:
            answers = list(pool.map(lambda body: _send(installation, user_id, secret, body), bodies))
        seconds = time.perf_counter() - started
        peak = _peak_mb(installation)
        assert answers == [200] * BODIES, answers
        assert installation.execute("select count(*) from media") == [(BODIES,)], "not every file is in the store"
        assert installation.execute("select max(length(body)) < 2000 from events") == [(True,)], (
            "bytes are in the events"
        )
    total = sum(len(body) for body in bodies) / MB
    figure("media_mb_per_s", total / seconds, "MB/s")
    figure("media_peak_mb", peak, "MB")
    figure("media_memory_ratio", (peak - before) / total, "ratio")


def _body(user_id: UUID, number: int) -> bytes:
    content = os.urandom(BODY_MB * MB * 3 // 4 - 1024)
    event = {"event": "onmessage", "session": f"user_{user_id}", "id": f"false_{ANA}_F{number}", "from": ANA,
             "type": "video", "mimetype": "video/mp4", "body": base64.b64encode(content).decode()}  # fmt: skip
    return json.dumps(event).encode()


def _send(installation: BenchInstallation, user_id: UUID, secret: str, body: bytes) -> int:
    url = f"{installation.webhook}/functions/v1/whatsapp-qr-webhook/user_{user_id}"
    return httpx.post(url, content=body, auth=("wpp", secret), timeout=60).status_code


def _peak_mb(installation: BenchInstallation) -> float:
    """The receiver's greatest resident memory so far."""
    found = subprocess.run(["pgrep", "-f", "webhook.py"], capture_output=True, text=True, check=True).stdout.split()
    port = f"WEBHOOK_PORT={installation.webhook.rpartition(':')[2]}".encode()
    ours = next(pid for pid in found if port in Path(f"/proc/{pid}/environ").read_bytes())
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{ours}/status").read_text())
    assert peak is not None
    return int(peak[1]) / 1024


if __name__ == "__main__":
    run()
