"""The page "Meu WhatsApp" as a person uses it, against all the real processes."""

import io
from collections.abc import Callable
from typing import Any

import pytest
import zxingcpp
from PIL import Image
from playwright.sync_api import Page, WebSocket, expect

from services.db.actor import Role
from tests.browser.conftest import House, Visitor
from tests.support.installation import wait_for

pytestmark = pytest.mark.browser

Visit = Callable[..., Visitor]
# A redraw takes a tenth of it.
HELD_MS = 700


def start_pairing(visitor: Visitor) -> None:
    visitor.page.get_by_role("button", name="Conectar", exact=True).click()
    expect(visitor.page.locator(".picture svg")).to_be_visible()


def connect(visitor: Visitor) -> None:
    start_pairing(visitor)
    visitor.house.processes.control.scan(visitor.session, "5511987654321")
    expect(visitor.page.get_by_text("Conectado!")).to_be_visible()


def shown_text(page: Page) -> str:
    """What a phone's camera reads off the screen."""
    picture = page.locator(".picture").screenshot()
    (found,) = zxingcpp.read_barcodes(Image.open(io.BytesIO(picture)))
    return str(found.text)


def stored_text(visitor: Visitor) -> Any:
    return visitor.house.database.one("select qr_urlcode from whatsapp_sessions where user_id = %s", visitor.user_id)


@pytest.mark.parametrize(
    "screen",
    [
        {"color_scheme": "light"},
        {"color_scheme": "dark"},
        {"color_scheme": "dark", "viewport": {"width": 390, "height": 844}},
    ],
    ids=["light", "dark", "phone"],
)
def test_it_shows_a_qr_that_a_camera_reads(visit: Visit, screen: dict[str, Any]) -> None:
    visitor = visit(**screen)
    start_pairing(visitor)
    assert shown_text(visitor.page) == stored_text(visitor)
    expect(visitor.page.get_by_text("Vale por mais")).to_be_visible()


def test_it_becomes_connected_without_a_reload_and_names_number_and_device(visit: Visit) -> None:
    visitor = visit()
    visitor.page.evaluate("window.untouched = true")
    connect(visitor)
    expect(visitor.page.get_by_text("+55 11 98765-4321")).to_be_visible()
    expect(visitor.page.get_by_text("Plushify Teste")).to_be_visible()
    expect(visitor.page.get_by_text("Provado agora há pouco")).to_be_visible()
    assert visitor.page.evaluate("window.untouched")


def test_it_replaces_the_qr_by_a_newer_one(visit: Visit) -> None:
    visitor = visit()
    start_pairing(visitor)
    first = shown_text(visitor.page)
    visitor.house.processes.control.event(
        visitor.session, {"event": "qrcode", "qrcode": "iVBORw0KGgo=", "urlcode": "2@the-second-" + "x" * 150}
    )
    expect(visitor.page.locator(".picture[data-number='2'] svg")).to_be_visible()
    assert shown_text(visitor.page) == "2@the-second-" + "x" * 150 != first


def test_it_redraws_nothing_while_a_button_is_held_down(visit: Visit) -> None:
    visitor = visit()
    page = visitor.page
    sockets: list[WebSocket] = []
    page.on("websocket", lambda socket: sockets.append(socket) if "/live" in socket.url else None)
    page.reload()
    connect(visitor)
    # The last that comes of a pairing: what is drawn until then moves the button.
    expect(page.get_by_text("Provado agora há pouco")).to_be_visible()
    expect(page.get_by_text("Plushify Teste")).to_be_visible()
    page.get_by_role("button", name="Desconectar").hover()
    page.mouse.down()
    with sockets[-1].expect_event("framereceived"):
        visitor.house.database.execute(
            "update whatsapp_sessions set device_name = 'Outro aparelho' where user_id = %s", visitor.user_id
        )
    with pytest.raises(AssertionError):
        expect(page.get_by_text("Outro aparelho")).to_be_visible(timeout=HELD_MS)
    page.mouse.up()
    page.get_by_role("dialog").get_by_role("button", name="Voltar").click()
    expect(page.get_by_text("Outro aparelho")).to_be_visible()


def test_it_goes_on_saying_what_a_press_came_to_while_the_page_redraws_itself(visit: Visit) -> None:
    visitor = visit()
    page, database = visitor.page, visitor.house.database
    database.execute("update wpp_servers set drained_at = now()")
    page.get_by_role("button", name="Conectar", exact=True).click()
    refused = page.get_by_text("Nenhum servidor do WhatsApp tem lugar")
    expect(refused).to_be_visible()
    database.execute(
        "insert into whatsapp_sessions (user_id, session_id, status, server_url, failure)"
        " values (%s, %s, 'desconectado', %s, 'qr_read_failed')",
        visitor.user_id,
        visitor.session,
        visitor.house.processes.sandbox_url,
    )
    expect(page.get_by_role("button", name="Tentar de novo")).to_be_visible()
    expect(refused).to_be_visible()
    database.execute("update wpp_servers set drained_at = null")
    page.get_by_role("button", name="Tentar de novo").click()
    expect(page.locator(".picture svg")).to_be_visible()
    expect(refused).to_have_count(0)


def test_it_blanks_a_qr_whose_time_is_over(visit: Visit) -> None:
    visitor = visit()
    start_pairing(visitor)
    visitor.house.database.execute(
        "update whatsapp_sessions set qr_expires_at = now() + interval '2 s', qr_count = 9, qr_urlcode = '2@short',"
        " check_at = null"  # nobody asks the server for a newer one
        " where user_id = %s",
        visitor.user_id,
    )
    expect(visitor.page.locator(".picture[data-number='9'] svg")).to_be_visible()
    expect(visitor.page.get_by_text("Este código venceu")).to_be_visible(timeout=4000)
    assert visitor.page.locator(".picture svg").count() == 0


def test_it_pairs_by_a_code_that_is_typed_on_the_phone(visit: Visit) -> None:
    visitor = visit()
    visitor.page.get_by_role("tab", name="Com código no celular").click()
    visitor.page.get_by_label("Número do seu WhatsApp").fill("(11) 98765-4321")
    visitor.page.get_by_role("button", name="Receber código").click()
    code = visitor.page.locator(".plushify-code")
    expect(code).to_be_visible()
    assert code.inner_text() == visitor.house.database.one(
        "select phone_code from whatsapp_sessions where user_id = %s", visitor.user_id
    )
    visitor.house.processes.control.scan(visitor.session)
    expect(visitor.page.get_by_text("Conectado!")).to_be_visible()


def test_it_refuses_a_bad_number_for_the_code_with_a_sentence(visit: Visit) -> None:
    visitor = visit()
    visitor.page.get_by_role("tab", name="Com código no celular").click()
    visitor.page.get_by_label("Número do seu WhatsApp").fill("123")
    visitor.page.get_by_role("button", name="Receber código").click()
    expect(visitor.page.get_by_text("Esse número de telefone não é válido.")).to_be_visible()


def test_it_asks_before_it_disconnects_and_then_offers_to_connect(visit: Visit) -> None:
    visitor = visit()
    connect(visitor)
    visitor.page.get_by_role("button", name="Desconectar").click()
    dialog = visitor.page.get_by_role("dialog")
    dialog.get_by_role("button", name="Voltar").click()
    expect(dialog).to_have_count(0)
    expect(visitor.page.get_by_text("Conectado!")).to_be_visible()
    visitor.page.get_by_role("button", name="Desconectar").click()
    dialog.get_by_role("button", name="Desconectar").click()
    expect(visitor.page.get_by_text("Conecte seu WhatsApp")).to_be_visible()
    session = visitor.house.processes.control.session(visitor.session)
    assert session is None or session["status"] != "CONNECTED"


def test_it_says_why_a_connection_ended_and_lets_one_try_again(visit: Visit) -> None:
    visitor = visit()
    connect(visitor)
    visitor.house.processes.control.phone_logout(visitor.session)
    expect(visitor.page.get_by_text("O aparelho foi desconectado pelo celular.")).to_be_visible()
    visitor.page.get_by_role("button", name="Tentar de novo").click()
    expect(visitor.page.locator(".picture svg")).to_be_visible()


def test_it_reconnects_without_a_new_scan(visit: Visit) -> None:
    visitor = visit()
    connect(visitor)
    started = "select pairing_started_at from whatsapp_sessions where user_id = %s"
    before = visitor.house.database.one(started, visitor.user_id)
    visitor.page.get_by_role("button", name="Reconectar").click()
    again = f"select status = 'conectado' and ({started}) > %s from whatsapp_sessions where user_id = %s"
    wait_for(lambda: visitor.house.database.one(again, visitor.user_id, before, visitor.user_id), 20)
    expect(visitor.page.get_by_text("Conectado!")).to_be_visible()
    control = visitor.house.processes.control
    # Announced, the session is up for people; its server says so up to 1.5 s later.
    wait_for(lambda: (control.session(visitor.session) or {})["status"] == "CONNECTED")


def test_it_names_a_server_that_does_not_answer(visit: Visit) -> None:
    visitor = visit()
    visitor.house.processes.stop("sandbox")
    try:
        visitor.page.get_by_role("button", name="Conectar", exact=True).click()
        expect(visitor.page.get_by_text("O servidor do WhatsApp não está respondendo.").first).to_be_visible()
    finally:
        visitor.house.processes.start("sandbox")
    visitor.page.get_by_role("button", name="Tentar de novo").click()
    expect(visitor.page.locator(".picture svg")).to_be_visible()


def test_it_catches_up_after_the_listener_lost_its_connection(visit: Visit, house: House) -> None:
    visitor = visit()
    start_pairing(visitor)
    listening = "select count(pg_terminate_backend(pid)) from pg_stat_activity where query = 'listen \"live\"'"
    killed = house.database.one(listening)
    assert killed == 2  # the console's and the API's
    house.processes.control.scan(visitor.session)
    expect(visitor.page.get_by_text("Conectado!")).to_be_visible(timeout=8000)


def test_it_catches_up_after_the_console_was_killed(visit: Visit, house: House) -> None:
    visitor = visit()
    start_pairing(visitor)
    house.processes.kill("console")
    house.processes.control.scan(visitor.session)
    wait_for(
        lambda: (
            house.database.one("select status from whatsapp_sessions where user_id = %s", visitor.user_id)
            == "conectado"
        )
    )
    house.processes.start("console")
    expect(visitor.page.get_by_text("Conectado!")).to_be_visible(timeout=30_000)


def test_it_shows_staff_the_state_but_never_the_qr(visit: Visit) -> None:
    visitor, staff = visit(), visit(Role.OPERATOR, path=None)
    frames: list[bytes] = []

    def keep(payload: str | bytes) -> None:
        frames.append(payload.encode() if isinstance(payload, str) else payload)

    staff.page.on("websocket", lambda socket: socket.on("framereceived", keep))
    staff.go("/sessions")
    expect(staff.page.get_by_text("Usuários: ")).to_be_visible()
    start_pairing(visitor)
    expect(staff.page.get_by_test_id("stMetric").filter(has_text="Pareando")).not_to_contain_text("0")
    secret = stored_text(visitor).encode()
    assert secret[:40] not in b"".join(frames)
    assert len(b"".join(frames)) > 1000
