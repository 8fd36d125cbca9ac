"""Every page of a demo as people meet it, to be looked at: both themes, both languages, and a phone's width.

`python -m bench.gallery [FOLDER]`, or `make screenshots`, which makes the documents' pictures too. The folder is not in
git.
"""

import sys
from pathlib import Path
from uuid import UUID

from playwright.sync_api import Browser, sync_playwright

from bench.browser import chromium, idle, sign_in
from bench.installation import ROOT, BenchInstallation, open_installation
from demo import month, people
from services.accounts import cookie_tokens
from services.accounts import sign_in as identity

FOLDER = ROOT / "test-artifacts" / "gallery"
DESKTOP = {"width": 1300, "height": 900}
PHONE = {"width": 390, "height": 844}
# The demo's sessions are not in the sandbox: nobody shall ask it about them.
QUIET = {"HEALTH_HEAL": "false", "HEALTH_PROOF_SECONDS": "86400", "HEALTH_ASKS_PER_DAY": "0"}
# name → language, theme, size
LOOKS = {
    "light": ("pt-BR", "light", DESKTOP),
    "dark": ("pt-BR", "dark", DESKTOP),
    "english": ("en-US", "light", DESKTOP),
    "phone": ("pt-BR", "light", PHONE),
}


def run(folder: Path = FOLDER) -> None:
    """One picture a page and look, for an admin and for somebody who sends."""
    folder.mkdir(parents=True, exist_ok=True)
    with open_installation() as installation, sync_playwright() as playwright, chromium(playwright) as browser:
        installation.environment.update(QUIET)
        month.fill_installation()
        with installation.running("sandbox", "webhook", "worker", "console"):
            ((admin,),) = installation.execute("select id from auth.users where email = %s", people.ADMIN_EMAIL)
            ((sender, message),) = installation.execute(
                "select m.user_id, m.id from messages m"
                " join campaigns c on c.user_id = m.user_id and c.state = 'active'"
                " where m.state = 'failed' and m.phone not like '%%@%%' and m.user_id <> %s"
                " order by m.created_at desc, m.id limit 1",
                admin,
            )
            for who, user_id in (("staff", admin), ("user", sender)):
                for look in LOOKS:
                    _tour(installation, browser, folder, f"{who}-{look}", UUID(str(user_id)), str(sender), str(message))


def _tour(
    installation: BenchInstallation, browser: Browser, folder: Path, name: str, user_id: UUID, sender: str, message: str
) -> None:
    language, theme, size = LOOKS[name.partition("-")[2]]
    context = browser.new_context(
        viewport=size,  # type: ignore[arg-type]
        color_scheme=theme,  # type: ignore[arg-type]
        locale=language,
        timezone_id="America/Sao_Paulo",
    )
    page = context.new_page()
    sign_in(page, installation.console, cookie_tokens.encode_token(identity.open_sign_in(user_id)))
    query = {"session": f"?user={sender}", "message": f"?id={message}", "diagnostics": f"?user={sender}"}
    for path in sorted((ROOT / "pages").glob("*.py")):
        if name.startswith("user") and "guard()" not in path.read_text():
            continue
        page.goto(
            installation.console + ("/" if path.stem == "my_whatsapp" else f"/{path.stem}{query.get(path.stem, '')}")
        )
        idle(page)
        page.wait_for_function("() => !document.querySelector('[data-testid=stSkeleton]')")
        page.wait_for_timeout(700)  # a canvas has nothing that could be waited for
        page.screenshot(path=str(folder / f"{path.stem}-{name}.png"))
        print(folder / f"{path.stem}-{name}.png")
    context.close()


if __name__ == "__main__":
    run(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
