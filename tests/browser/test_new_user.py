"""A new user, end to end, over what `make run` runs, and a search for secrets in all that it left behind."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, WebSocket, expect

from services import settings
from tests.support.paths import ROOT
from tests.support.processes import free_ports
from tests.support.waiting import wait_for

pytestmark = pytest.mark.browser

START_SECONDS = 60


@dataclass
class Run:
    """One `manage.py up` on an empty folder."""

    folder: Path
    output: Path
    console: str
    sandbox: str

    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def first_admin(self) -> tuple[str, str]:
        """Name and password as they were printed."""
        found = re.search(r"first sign-in.*?\n\s+http\S+\n\s+(\S+@\S+)\n\s+(\S+)\n", self.said(), re.DOTALL)
        assert found is not None, self.said()
        return found[1], found[2]


@dataclass
class Seen:
    """Everything that reached the browser: frames of every WebSocket, bodies of every answer, the page at each step."""

    frames: list[bytes] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("websocket", self._socket)

    def _socket(self, socket: WebSocket) -> None:
        socket.on("framereceived", self._frame)
        socket.on("framesent", self._frame)

    def _frame(self, payload: str | bytes) -> None:
        self.frames.append(payload.encode() if isinstance(payload, str) else payload)

    def everything(self) -> str:
        return "\n".join([*(frame.decode("utf-8", "replace") for frame in self.frames), *self.pages])


@pytest.fixture
def run() -> Iterator[Run]:
    folder = Path(tempfile.mkdtemp(prefix="plushify-new-user-"))
    folder.chmod(0o755)
    console, webhook, sandbox = free_ports(3)
    hidden = set(settings.variables())
    environment = {name: value for name, value in os.environ.items() if name not in hidden} | {
        "DATA_DIR": str(folder / "data"),
        "CONSOLE_PORT": str(console),
        "WEBHOOK_PORT": str(webhook),
        "SANDBOX_PORT": str(sandbox),
    }
    output = folder / "output"
    with output.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "up"], cwd=ROOT, env=environment, stdout=out, stderr=out
        )
    try:
        started = Run(folder, output, f"http://127.0.0.1:{console}", f"http://127.0.0.1:{sandbox}")
        wait_for(lambda: "Ctrl-C stops everything" in started.said(), START_SECONDS, "the console to be announced")
        yield started
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(START_SECONDS)
        shutil.rmtree(folder)


def sign_in(page: Page, run: Run) -> None:
    email, password = run.first_admin()
    page.goto(run.console)
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Senha", exact=True).fill(password)
    page.get_by_test_id("stFormSubmitButton").get_by_role("button").click()
    expect(page.get_by_role("heading", name="Meu WhatsApp")).to_be_visible()


def scan_in_the_sandbox(context: BrowserContext, run: Run) -> None:
    page = context.new_page()
    page.goto(f"{run.sandbox}/_sandbox")
    page.get_by_role("button", name="Escanear").first.click()
    page.close()


def test_a_new_user_pairs_sends_and_disconnects_on_one_command(
    run: Run, new_context: Callable[..., BrowserContext]
) -> None:
    context, seen = new_context(), Seen()
    page = context.new_page()
    seen.watch(page)

    sign_in(page, run)
    expect(page.get_by_text("Servidor de testes: nenhuma mensagem sai de verdade.")).to_be_visible()
    seen.pages.append(page.content())

    page.get_by_role("button", name="Conectar", exact=True).click()
    expect(page.locator(".picture svg")).to_be_visible()
    seen.pages.append(page.content())

    scan_in_the_sandbox(context, run)
    expect(page.get_by_text("Conectado!")).to_be_visible()
    seen.pages.append(page.content())

    page.get_by_text("Enviar uma mensagem").click()
    page.get_by_label("Para (WhatsApp)").fill("(11) 91234-5678")
    page.get_by_label("Mensagem").fill("Olá! Este é o texto do primeiro envio.")
    page.get_by_role("button", name="Enviar", exact=True).click()
    expect(page.get_by_text("Lida")).to_be_visible()
    seen.pages.append(page.content())

    page.get_by_role("link", name="Meu WhatsApp").click()
    page.get_by_role("button", name="Desconectar").click()
    page.get_by_role("dialog").get_by_role("button", name="Desconectar").click()
    expect(page.get_by_text("Conecte seu WhatsApp")).to_be_visible()
    page.get_by_role("link", name="Sessões").click()
    expect(page.get_by_text("Usuários: ")).to_be_visible()
    seen.pages.append(page.content())

    nothing_private_is_left(run, seen)


def nothing_private_is_left(run: Run, seen: Seen) -> None:
    """No secret of the settings in the page, in the frames or in any log line; no text and no QR in the logs either."""
    secrets = {path.name: path.read_text().strip() for path in (run.folder / "data" / "secrets").iterdir()}
    assert {"wpp_server_token", "auth_cookie_key", "qr_webhook_verify_token"} <= secrets.keys()
    browser, logs = seen.everything(), run.said()
    assert len(browser) > 10_000
    assert "wpp_call" in logs
    for name, value in secrets.items():
        assert value not in browser, f"{name} reached the browser"
        assert value not in logs, f"{name} stands in the log"
    assert run.sandbox.removeprefix("http://") not in browser, "the server's address reached the browser"
    _email, password = run.first_admin()
    assert logs.count(password) == 1, "the first password is printed once and logged nowhere"
    assert "texto do primeiro envio" not in logs
    assert "2@" not in logs
