"""What people do on the console's pages in a browser."""

from playwright.sync_api import Page, expect

from tests.support.browser_user import BrowserUser

# Where the check box of the table's first row is, in pixels from its corner: the table is drawn on a canvas.
FIRST_ROW = {"x": 18, "y": 52}


def start_pairing(user: BrowserUser) -> None:
    """Press "Conectar" on "Meu WhatsApp" and wait for the QR."""
    user.page.get_by_role("button", name="Conectar", exact=True).click()
    expect(user.page.locator(".picture svg")).to_be_visible()


def pair(user: BrowserUser) -> None:
    """Press "Conectar" and have a phone read the QR."""
    start_pairing(user)
    user.installation.processes.control.scan(user.session, "5511987654321")
    expect(user.page.get_by_text("Conectado!")).to_be_visible()


def send_text(user: BrowserUser, phone: str = "(11) 91234-5678", text: str = "Olá!") -> None:
    """Send from the page "Enviar"."""
    user.page.get_by_label("Para (WhatsApp)").fill(phone)
    user.page.get_by_label("Mensagem").fill(text)
    user.page.get_by_role("button", name="Enviar", exact=True).click()


def search_session(page: Page, text: str) -> None:
    """Find the only session of the page "Sessões" that has this text."""
    page.get_by_label("Buscar").fill(text)
    page.get_by_label("Buscar").press("Enter")
    expect(page.get_by_text("Usuários: 1")).to_be_visible()


def choose_first_row(page: Page) -> None:
    """Tick the first row of a page's table."""
    page.get_by_test_id("data-grid-canvas").click(position=FIRST_ROW, force=True)  # type: ignore[arg-type]


def email_of(user: BrowserUser) -> str:
    return str(user.installation.database.one("select email from auth.users where id = %s", user.user_id))


def fill_in(page: Page, label: str, text: str) -> None:
    """Type into a field and leave it: only then Streamlit takes it."""
    field = page.get_by_label(label, exact=True)
    field.fill(text)
    field.press("Tab")
