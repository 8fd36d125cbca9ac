"""The page "Meu WhatsApp" as a person uses it, against all the real processes."""

import io
from typing import Any

import pytest
import zxingcpp
from PIL import Image
from playwright.sync_api import Page, WebSocket, expect

from bench.browser import idle
from services.db.actor import Role
from tests.support.browser_steps import pair, start_pairing
from tests.support.browser_user import BrowserUser, NewBrowserUser
from tests.support.installation import Installation
from tests.support.waiting import wait_for

pytestmark = pytest.mark.browser

# A redraw takes a tenth of it.
HELD_MS = 700


def shown_text(page: Page) -> str:
    """What a phone's camera reads off the screen."""
    picture = page.locator(".picture").screenshot()
    (found,) = zxingcpp.read_barcodes(Image.open(io.BytesIO(picture)))
    return str(found.text)


def stored_text(user: BrowserUser) -> Any:
    return user.installation.database.one("select qr_urlcode from whatsapp_sessions where user_id = %s", user.user_id)


@pytest.mark.parametrize(
    "screen",
    [
        pytest.param({"color_scheme": "light"}, id="light"),
        pytest.param({"color_scheme": "dark"}, id="dark", marks=pytest.mark.slow),
        pytest.param({"color_scheme": "dark", "viewport": {"width": 390, "height": 844}}, id="phone"),
    ],
)
def test_it_shows_a_qr_that_a_camera_reads(new_browser_user: NewBrowserUser, screen: dict[str, Any]) -> None:
    user = new_browser_user(**screen)
    start_pairing(user)
    assert shown_text(user.page) == stored_text(user)
    expect(user.page.get_by_text("Vale por mais")).to_be_visible()


def test_it_becomes_connected_without_a_reload_and_names_number_and_device(new_browser_user: NewBrowserUser) -> None:
    user = new_browser_user()
    user.page.evaluate("window.untouched = true")
    pair(user)
    expect(user.page.get_by_text("+55 11 98765-4321")).to_be_visible()
    expect(user.page.get_by_text("Plushify Teste")).to_be_visible()
    expect(user.page.get_by_text("Provado agora há pouco")).to_be_visible()
    assert user.page.evaluate("window.untouched")


def test_it_replaces_the_qr_by_a_newer_one(new_browser_user: NewBrowserUser) -> None:
    user = new_browser_user()
    start_pairing(user)
    first = shown_text(user.page)
    user.installation.processes.control.event(
        user.session, {"event": "qrcode", "qrcode": "iVBORw0KGgo=", "urlcode": "2@the-second-" + "x" * 150}
    )
    expect(user.page.locator(".picture[data-number='2'] svg")).to_be_visible()
    assert shown_text(user.page) == "2@the-second-" + "x" * 150 != first


def test_it_redraws_nothing_while_a_button_is_held_down(new_browser_user: NewBrowserUser) -> None:
    user = new_browser_user()
    page = user.page
    sockets: list[WebSocket] = []
    page.on("websocket", lambda socket: sockets.append(socket) if "/live" in socket.url else None)
    page.reload()
    pair(user)
    # The last that comes of a pairing: what is drawn until then moves the button.
    expect(page.get_by_text("Provado agora há pouco")).to_be_visible()
    expect(page.get_by_text("Plushify Teste")).to_be_visible()
    # Its number is read after it came up; until then its lane is held, and the page may be drawn once more.
    settling = "select count(*) from whatsapp_sessions where user_id = %s and settling_since is not null"
    wait_for(lambda: not user.installation.database.one(settling, user.user_id), what="its number")
    idle(page)
    page.get_by_role("button", name="Desconectar").hover()
    page.mouse.down()
    with sockets[-1].expect_event("framereceived"):
        user.installation.database.execute(
            "update whatsapp_sessions set device_name = 'Outro aparelho' where user_id = %s", user.user_id
        )
    with pytest.raises(AssertionError):
        expect(page.get_by_text("Outro aparelho")).to_be_visible(timeout=HELD_MS)
    page.mouse.up()
    page.get_by_role("dialog").get_by_role("button", name="Voltar").click()
    expect(page.get_by_text("Outro aparelho")).to_be_visible()


def test_it_goes_on_saying_what_a_press_came_to_while_the_page_redraws_itself(new_browser_user: NewBrowserUser) -> None:
    user = new_browser_user()
    page, database = user.page, user.installation.database
    database.execute("update wpp_servers set drained_at = now()")
    page.get_by_role("button", name="Conectar", exact=True).click()
    refused = page.get_by_text("Nenhum servidor do WhatsApp tem lugar")
    expect(refused).to_be_visible()
    database.execute(
        "insert into whatsapp_sessions (user_id, session_id, status, server_url, failure)"
        " values (%s, %s, 'desconectado', %s, 'qr_read_failed')",
        user.user_id,
        user.session,
        user.installation.processes.sandbox_url,
    )
    expect(page.get_by_role("button", name="Tentar de novo")).to_be_visible()
    expect(refused).to_be_visible()
    database.execute("update wpp_servers set drained_at = null")
    page.get_by_role("button", name="Tentar de novo").click()
    expect(page.locator(".picture svg")).to_be_visible()
    expect(refused).to_have_count(0)


def test_it_blanks_a_qr_whose_time_is_over(new_browser_user: NewBrowserUser) -> None:
    user = new_browser_user()
    start_pairing(user)
    user.installation.database.execute(
        "update whatsapp_sessions set qr_expires_at = now() + interval '2 s', qr_count = 9, qr_urlcode = '2@short',"
        " check_at = null"  # nobody asks the server for a newer one
        " where user_id = %s",
        user.user_id,
    )
    expect(user.page.locator(".picture[data-number='9'] svg")).to_be_visible()
    expect(user.page.get_by_text("Este código venceu")).to_be_visible(timeout=4000)
    assert user.page.locator(".picture svg").count() == 0


def test_it_pairs_by_a_code_that_is_typed_on_the_phone(new_browser_user: NewBrowserUser) -> None:
    user = new_browser_user()
    user.page.get_by_role("tab", name="Com código no celular").click()
    user.page.get_by_label("Número do seu WhatsApp").fill("(11) 98765-4321")
    user.page.get_by_role("button", name="Receber código").click()
    code = user.page.locator(".plushify-code")
    expect(code).to_be_visible()
    assert code.inner_text() == user.installation.database.one(
        "select phone_code from whatsapp_sessions where user_id = %s", user.user_id
    )
    user.installation.processes.control.scan(user.session)
    expect(user.page.get_by_text("Conectado!")).to_be_visible()


def test_it_refuses_a_bad_number_for_the_code_with_a_sentence(new_browser_user: NewBrowserUser) -> None:
    user = new_browser_user()
    user.page.get_by_role("tab", name="Com código no celular").click()
    user.page.get_by_label("Número do seu WhatsApp").fill("123")
    user.page.get_by_role("button", name="Receber código").click()
    expect(user.page.get_by_text("Esse número de telefone não é válido.")).to_be_visible()


def test_it_asks_before_it_disconnects_and_then_offers_to_connect(new_browser_user: NewBrowserUser) -> None:
    user = new_browser_user()
    pair(user)
    user.page.get_by_role("button", name="Desconectar").click()
    dialog = user.page.get_by_role("dialog")
    dialog.get_by_role("button", name="Voltar").click()
    expect(dialog).to_have_count(0)
    expect(user.page.get_by_text("Conectado!")).to_be_visible()
    user.page.get_by_role("button", name="Desconectar").click()
    dialog.get_by_role("button", name="Desconectar").click()
    expect(user.page.get_by_text("Conecte seu WhatsApp")).to_be_visible()
    session = user.installation.processes.control.session(user.session)
    assert session is None or session["status"] != "CONNECTED"


def test_it_says_why_a_connection_ended_and_lets_one_try_again(new_browser_user: NewBrowserUser) -> None:
    user = new_browser_user()
    pair(user)
    user.installation.processes.control.phone_logout(user.session)
    expect(user.page.get_by_text("O aparelho foi desconectado pelo celular.")).to_be_visible()
    user.page.get_by_role("button", name="Tentar de novo").click()
    expect(user.page.locator(".picture svg")).to_be_visible()


def test_it_reconnects_without_a_new_scan(new_browser_user: NewBrowserUser) -> None:
    user = new_browser_user()
    pair(user)
    started = "select pairing_started_at from whatsapp_sessions where user_id = %s"
    before = user.installation.database.one(started, user.user_id)
    user.page.get_by_role("button", name="Reconectar").click()
    again = f"select status = 'conectado' and ({started}) > %s from whatsapp_sessions where user_id = %s"
    wait_for(lambda: user.installation.database.one(again, user.user_id, before, user.user_id), 20)
    expect(user.page.get_by_text("Conectado!")).to_be_visible()
    control = user.installation.processes.control
    # Announced, the session is up for people; its server says so up to 1.5 s later.
    wait_for(lambda: (control.session(user.session) or {})["status"] == "CONNECTED")


def test_it_names_a_server_that_does_not_answer(new_browser_user: NewBrowserUser) -> None:
    user = new_browser_user()
    user.installation.processes.stop("sandbox")
    try:
        user.page.get_by_role("button", name="Conectar", exact=True).click()
        expect(user.page.get_by_text("O servidor do WhatsApp não está respondendo.").first).to_be_visible()
    finally:
        user.installation.processes.start("sandbox")
    user.page.get_by_role("button", name="Tentar de novo").click()
    expect(user.page.locator(".picture svg")).to_be_visible()


def test_it_catches_up_after_the_listener_lost_its_connection(
    new_browser_user: NewBrowserUser, installation: Installation
) -> None:
    user = new_browser_user()
    start_pairing(user)
    listening = "select count(pg_terminate_backend(pid)) from pg_stat_activity where query = 'listen \"live\"'"
    killed = installation.database.one(listening)
    assert killed == 2  # the console's and the API's
    installation.processes.control.scan(user.session)
    expect(user.page.get_by_text("Conectado!")).to_be_visible(timeout=8000)


def test_it_catches_up_after_the_console_was_killed(
    new_browser_user: NewBrowserUser, installation: Installation
) -> None:
    user = new_browser_user()
    start_pairing(user)
    installation.processes.kill("console")
    installation.processes.control.scan(user.session)
    wait_for(
        lambda: (
            installation.database.one("select status from whatsapp_sessions where user_id = %s", user.user_id)
            == "conectado"
        )
    )
    installation.processes.start("console")
    expect(user.page.get_by_text("Conectado!")).to_be_visible(timeout=30_000)


def test_it_shows_staff_the_state_but_never_the_qr(new_browser_user: NewBrowserUser) -> None:
    user, staff = new_browser_user(), new_browser_user(Role.OPERATOR, path=None)
    frames: list[bytes] = []

    def keep(payload: str | bytes) -> None:
        frames.append(payload.encode() if isinstance(payload, str) else payload)

    staff.page.on("websocket", lambda socket: socket.on("framereceived", keep))
    staff.go("/sessions")
    expect(staff.page.get_by_text("Usuários: ")).to_be_visible()
    start_pairing(user)
    expect(staff.page.get_by_test_id("stMetric").filter(has_text="Pareando")).not_to_contain_text("0")
    secret = stored_text(user).encode()
    assert secret[:40] not in b"".join(frames)
    assert len(b"".join(frames)) > 1000
