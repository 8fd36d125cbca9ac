"""Two WPPConnect servers under one console: where a new session goes, and a wave that restarts those of both."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from services.accounts import provisioning
from services.db.actor import Role, person
from services.db.embedded import EmbeddedPostgres
from services.fleet import commands
from tests.support.browser_steps import start_pairing
from tests.support.browser_user import BrowserUser, NewBrowserUser
from tests.support.installation import FAST_SETTINGS, Installation, open_installation, use_settings_of
from tests.support.processes import Processes, running_processes
from tests.support.sandbox_control import SandboxControl
from tests.support.waiting import wait_for

# Two more processes, and waves that wait for sessions to come back.
pytestmark = [pytest.mark.browser, pytest.mark.slow]

PHONE = "5511987654321"
WIDE = {"width": 1300, "height": 1000}


@pytest.fixture(scope="module")
def servers(
    cluster: EmbeddedPostgres, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Processes, Processes]]:
    """The servers, each in a process of its own: no part of the console's installation."""
    url, folder = cluster.url(template), tmp_path_factory.mktemp("servers")
    with (
        running_processes(url, folder / "one", ("sandbox",)) as one,
        running_processes(url, folder / "other", ("sandbox",)) as other,
    ):
        yield one, other


@pytest.fixture(scope="module")
def installation(
    cluster: EmbeddedPostgres,
    template: str,
    tmp_path_factory: pytest.TempPathFactory,
    servers: tuple[Processes, Processes],
) -> Iterator[Installation]:
    """An installation of two servers that restarts one session of each at a time."""
    one, other = servers
    env = FAST_SETTINGS | {
        "SANDBOX_PORT": one.environment["SANDBOX_PORT"],
        "WPP_SERVER_URL": f"{one.sandbox_url},{other.sandbox_url}",
        "HEALTH_HEALS_PER_SERVER": "1",
    }
    processes = ("webhook", "worker", "console")
    with (
        open_installation(cluster, template, tmp_path_factory.mktemp("two"), processes, **env) as opened,
        use_settings_of(opened),
    ):
        yield opened


def set_capacity(page: Page, number: int, capacity: int) -> None:
    page.get_by_role("button", name="Capacidade").nth(number - 1).click()
    field = page.get_by_label("Conexões no máximo")
    field.fill(str(capacity))
    field.press("Enter")
    page.get_by_role("button", name="Guardar").click()
    expect(page.get_by_text(f"de {capacity} conexões")).to_be_visible()


def look(page: Page, answering: str) -> None:
    page.get_by_role("button", name="Olhar agora").click()
    expect(page.get_by_text(answering, exact=True)).to_be_visible()


def pair(user: BrowserUser, there: SandboxControl) -> None:
    """Press "Conectar" and read the code with a phone: it is the code of this server."""
    start_pairing(user)
    there.scan(user.session, PHONE)
    expect(user.page.get_by_text("Conectado!")).to_be_visible()


def paired(installation: Installation, there: SandboxControl, number: int) -> None:
    """Somebody more, without a browser."""
    user_id = provisioning.create_user(f"mais{number}@example.com", "uma senha bem longa", Role.USER, f"Mais {number}")
    commands.connect(person(user_id, Role.USER, f"mais{number}@example.com"))
    state = "select {} from whatsapp_sessions where user_id = %s"
    wait_for(lambda: installation.database.one(state.format("qr_urlcode"), user_id), what="a code")
    there.scan(f"user_{user_id}", PHONE)
    wait_for(lambda: installation.database.one(state.format("status"), user_id) == "conectado", what="a session")


@pytest.mark.timeout(300)
def test_it_places_sessions_on_two_servers_and_restarts_both_in_a_wave(
    new_browser_user: NewBrowserUser, installation: Installation, servers: tuple[Processes, Processes]
) -> None:
    admin, (first, second) = new_browser_user(Role.ADMIN, path=None, viewport=WIDE), servers
    one, other = first.control, second.control
    page, database = admin.page, installation.database
    admin.go("/servers")
    look(page, "2 de 2")
    set_capacity(page, 1, 5)
    set_capacity(page, 2, 9)

    # Most room is of no use where nobody answers.
    second.stop("sandbox")
    look(page, "1 de 2")
    pair(new_browser_user(), one)
    second.start("sandbox")
    look(page, "2 de 2")
    pair(new_browser_user(), other)
    page.get_by_role("button", name="Esvaziar").last.click()
    page.get_by_role("dialog").get_by_role("button", name="Esvaziar").click()
    expect(page.get_by_role("button", name="Reativar")).to_be_visible()
    pair(new_browser_user(), one)
    page.get_by_role("button", name="Reativar").click()
    expect(page.get_by_role("button", name="Esvaziar")).to_have_count(2)
    for number in range(3):
        paired(installation, other, number)
    wait_for(lambda: [len(each.state()["sessions"]) for each in (one, other)] == [2, 4])

    admin.go("/sessions")
    for each in (one, other):
        each.fault("webhook_late", delay=6.0)  # else all six may be back before anybody can press
    page.get_by_role("button", name="Reiniciar em ondas").click()
    page.get_by_role("dialog").get_by_role("button", name="Começar").click()
    expect(page.get_by_text(re.compile(r"[12] de 6 reiniciadas"))).to_be_visible()
    page.get_by_role("button", name="Pausar").click()
    expect(page.get_by_text("Em pausa")).to_be_visible()
    wait_for(lambda: not database.one("select count(*) from rolling_restart_items where state = 'under_way'"), 60)
    waiting = database.one("select count(*) from rolling_restart_items where state = 'waiting'")
    assert waiting > 0, "it was over before anybody could hold it"
    expect(page.get_by_text(f"{6 - waiting} de 6 reiniciadas · 0 em andamento")).to_be_visible()
    for each in (one, other):
        each.clear_faults()
    page.get_by_role("button", name="Continuar").click()
    expect(page.get_by_text("6 de 6 voltaram, 0 falharam")).to_be_visible(timeout=60_000)
    by_server = "select server_url, count(*) from rolling_restart_items where state = 'done' group by 1"
    assert dict(database.execute(by_server)) == {first.sandbox_url: 2, second.sandbox_url: 4}
