"""The pictures of the README and of docs/, made from the running product: `make screenshots`."""

import urllib.request
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from bench.browser import chromium, idle, sign_in
from bench.installation import ROOT, BenchInstallation, open_installation
from services.accounts import cookie_tokens, provisioning
from services.accounts import sign_in as identity
from services.db.actor import Role

FOLDER = ROOT / "docs" / "screenshots"
PEOPLE = ("Ana Souza", "Bruno Lima", "Carla Dias", "Diego Rocha", "Elisa Prado")
DESKTOP = {"width": 1100, "height": 760}
PHONE = {"width": 390, "height": 844}
EVENTS = {"width": 1300, "height": 1000}
EVENT = {"width": 1300, "height": 1500}


def run() -> None:
    """One picture each of pairing, sending, the fleet and the events, in both themes and at a phone's width."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (
        open_installation() as installation,
        installation.running("sandbox", "webhook", "worker", "console"),
        sync_playwright() as playwright,
        chromium(playwright) as browser,
    ):
        for number, name in enumerate(PEOPLE):
            provisioning.create_user(f"{name.split()[0].lower()}@exemplo.com.br", "uma senha longa", Role.USER, name)
            if number < 3:
                _pair_and_send(installation, browser, f"{name.split()[0].lower()}@exemplo.com.br", first=number == 0)
        _pictures_for_staff(installation, browser)


def _pair_and_send(installation: BenchInstallation, browser: Browser, email: str, *, first: bool) -> None:
    ((user_id,),) = installation.execute("select id from auth.users where email = %s", email)
    token = cookie_tokens.encode_token(identity.open_sign_in(user_id))  # type: ignore[arg-type]
    page = _open(installation, browser, token, DESKTOP, "light")
    page.get_by_role("button", name="Conectar", exact=True).click()
    page.locator(".picture svg").wait_for()
    if first:
        _take(page, "pairing-light")
        _take(_open(installation, browser, token, DESKTOP, "dark"), "pairing-dark", ".picture svg")
        _take(_open(installation, browser, token, PHONE, "dark"), "pairing-phone-dark", ".picture svg")
    scan = urllib.request.Request(f"{installation.sandbox}/_sandbox/sessions/user_{user_id}/scan", b"{}", method="POST")
    urllib.request.urlopen(scan).close()
    page.get_by_text("Conectado!").wait_for()
    if first:
        _take(page, "connected-light")
        _send(page)
        _take(page, "send-light")
        _take(_open(installation, browser, token, PHONE, "light", "/send"), "send-phone-light", "text=Lida")


def _send(page: Page) -> None:
    page.get_by_text("Enviar uma mensagem").click()
    for name, phone, text in (
        ("João", "(11) 91234-5678", "Olá, João! Seu pedido saiu para entrega."),
        ("Marina", "(21) 99876-5432", "Bom dia, Marina. Sua reunião está confirmada para as 15h."),
    ):
        page.get_by_label("Para (WhatsApp)").fill(phone)
        page.get_by_label("Nome (opcional)").fill(name)
        page.get_by_label("Mensagem").fill(text)
        page.get_by_role("button", name="Enviar", exact=True).click()
        page.get_by_text(text).last.wait_for()
    page.wait_for_function("() => document.body.innerText.split('Lida').length > 2")
    page.get_by_test_id("stToast").first.wait_for(state="hidden")


def _pictures_for_staff(installation: BenchInstallation, browser: Browser) -> None:
    chief = provisioning.create_user("chefe@exemplo.com.br", "uma senha longa", Role.ADMIN, "Chefe")
    token = cookie_tokens.encode_token(identity.open_sign_in(chief))
    for theme in ("light", "dark"):
        _take(
            _open(installation, browser, token, {"width": 1300, "height": 760}, theme, "/sessions"),
            f"sessions-{theme}",
            "canvas",
        )
    _an_hour_of_events(installation)
    _take(_open(installation, browser, token, EVENTS, "light", "/events"), "events-light", "canvas")
    page = _open(installation, browser, token, EVENT, "dark", "/events")
    page.get_by_role("combobox", name="Resultado").click()
    page.get_by_role("option", name="Falhou").click()
    page.get_by_text("Reprocessar todos").wait_for()
    page.wait_for_timeout(1000)  # a canvas has nothing that could be waited for
    page.get_by_test_id("data-grid-canvas").click(position={"x": 18, "y": 52}, force=True)
    page.get_by_role("button", name="Ensaiar").click()
    page.get_by_text("Mudaria isto").wait_for()
    page.mouse.move(0, 0)
    _take(page, "events-dark")


def _an_hour_of_events(installation: BenchInstallation) -> None:
    """What a busy hour leaves behind, with a few that failed at the end of it."""
    installation.execute(
        "insert into events (received_at, session, kind, verdict, handled_at, request_id, body)"
        " select at, 'user_' || (array(select id from auth.users order by email))[1 + i % 5],"
        " case when i % 7 = 0 then 'onmessage' else 'onack' end,"
        " case when i % 7 = 0 then 'unsupported' when i % 31 = 0 then 'duplicate' else 'handled' end,"
        " at + (0.05 + random() * random()) * interval '1 s', gen_random_uuid(), '{\"event\": \"onack\"}'"
        " from (select i, now() - 3540 * (1 - sqrt(i / 1500.0)) * interval '1 s' as at"
        " from generate_series(1, 1500) i) x"
    )
    installation.execute(
        "update events set verdict = 'failed', attempts = 3, kind = 'status-find',"
        " error = 'services/inbound/event_processing.py:515 in _on_status' || chr(10) || 'ValueError',"
        ' body = \'{"event": "status-find", "status": "phoneNotConnected"}\''
        " where id in (select id from events where kind = 'onack' and session in"
        " (select session_id from whatsapp_sessions) order by id desc limit 3)"
    )


def _open(
    installation: BenchInstallation, browser: Browser, token: str, size: dict[str, int], theme: str, path: str = "/"
) -> Page:
    context = browser.new_context(
        viewport=size,  # type: ignore[arg-type]
        color_scheme=theme,  # type: ignore[arg-type]
        locale="pt-BR",
        timezone_id="America/Sao_Paulo",
    )
    page = context.new_page()
    sign_in(page, installation.console, token)
    if path != "/":
        page.goto(installation.console + path)
    return page


def _take(page: Page, name: str, wait_for: str = "") -> None:
    if wait_for:
        page.locator(wait_for).first.wait_for()
    idle(page)
    page.evaluate("document.fonts.ready")
    page.screenshot(path=str(FOLDER / f"{name}.png"))
    print(Path("docs") / "screenshots" / f"{name}.png")


if __name__ == "__main__":
    run()
