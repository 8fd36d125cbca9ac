"""The entry script: runs for each visit and each click, before the page. Signs in, then navigates by role."""

from pathlib import Path

import streamlit as st

from services import counters, log, settings
from services.accounts.sign_in import Account
from services.db.actor import Role
from services.errors import ServiceError
from ui.kit import flash
from ui.kit.i18n import _
from ui.shell import accessibility, cookie, errors, guard, invitation, sign_in
from ui.shell.navigation import pages_for

# What the page without a path of its own is counted as.
HOME = "home"
ICON = Path(__file__).with_name("icon.svg")

# What the theme cannot say. The form's button is streamlit-authenticator's, which gives it no type; Streamlit's own
# "Press Enter to submit form" and "100MB per file" know no other language.
STYLE = """<style>
[data-testid="stMainBlockContainer"] { padding-top: 3.5rem; }
[data-testid="InputInstructions"], [data-testid="stFileUploaderDropzoneInstructions"] { display: none; }
[data-testid="stCaptionContainer"] { color: #4c5a54; opacity: 1; }
@media (prefers-color-scheme: dark) { [data-testid="stCaptionContainer"] { color: #a9b8b1; } }
.st-key-cookie { position: absolute; height: 0; }
.plushify-code { font: 650 2.4rem/1.2 ui-monospace, monospace; letter-spacing: .12em; text-align: center;
  padding: 1.2rem 0; }
.plushify-wait { height: 4px; border-radius: 2px; overflow: hidden;
  background: color-mix(in srgb, currentColor 15%, transparent); }
.plushify-wait::before { content: ""; display: block; width: 35%; height: 100%; border-radius: 2px; background: #2fa382;
  animation: plushify-wait 1.4s ease-in-out infinite; }
@keyframes plushify-wait { from { margin-left: -35%; } to { margin-left: 100%; } }
@media (prefers-reduced-motion: reduce) { .plushify-wait::before { width: 100%; animation: none; opacity: .5; } }
[class*="st-key-database_away"] { position: fixed; inset: auto 1rem 1rem auto; z-index: 1000;
  width: min(36rem, calc(100vw - 2rem)); padding: .75rem; border-radius: .75rem; background: #fff;
  box-shadow: 0 4px 24px #0004; }
@media (prefers-color-scheme: dark) { [class*="st-key-database_away"] { background: #17211d; } }
.st-key-sign_in { max-width: 24rem; margin: 5vh auto 0; }
.st-key-sign_in [data-testid="stElementContainer"]:has([data-testid="stFormSubmitButton"]) :not(p, span),
.st-key-sign_in [data-testid="stElementContainer"]:has([data-testid="stFormSubmitButton"]) { width: 100%; }
.st-key-sign_in [data-testid="stFormSubmitButton"] button {
  width: 100%; background: #0b6e55; border-color: #0b6e55; color: #fff; margin-top: 0.5rem;
}
.st-key-sign_in [data-testid="stFormSubmitButton"] button:is(:hover, :focus-visible) {
  background: #095a46; color: #fff;
}
.st-key-sign_in [data-testid="stForm"] { padding: 1.5rem; }
</style>"""


def role_name(role: Role | None) -> str:
    names = {Role.ADMIN: _("Administração"), Role.OPERATOR: _("Operação"), Role.USER: _("Usuário")}
    return names[role] if role else ""


def sandbox_banner() -> None:
    if settings.get().wppconnect.sandboxed:
        st.info(_("Servidor de testes: nenhuma mensagem sai de verdade."), icon=":material/science:")


def sign_in_screen() -> None:
    # Named but not run: so the address that somebody came with is still there once they are signed in.
    st.navigation(pages_for(Role.ADMIN), position="hidden")
    with st.container(key="sign_in"):
        st.title("Plushify", anchor=False)
        st.caption(_("WhatsApp da sua empresa, em um só lugar."))
        sandbox_banner()
        with errors.shown():
            sign_in.show_screen()
    flash.show_pending()


def console(account: Account) -> None:
    page = st.navigation(pages_for(account.actor.role), expanded=True)  # all of them: none hides behind "view more"
    with st.sidebar:
        with st.container(gap=None):
            st.text(account.name)
            st.caption(role_name(account.actor.role))
        st.button(_("Sair"), icon=":material/logout:", on_click=sign_in.sign_out, width="stretch", key="sign_out")
    sandbox_banner()
    # What a page does not foresee itself must not cut it off either.
    with counters.get_counters().pages.labels(page.url_path or HOME).time(), errors.stopping():
        page.run()
    flash.show_pending()


def invitation_screen(token: str) -> None:
    st.navigation(pages_for(Role.ADMIN), position="hidden")
    with st.container(key="sign_in"):
        st.title("Plushify", anchor=False)
        with errors.shown():
            invitation.show_screen(token)


def main() -> None:
    log.bind_request_id()
    st.set_page_config(page_title="Plushify", page_icon=ICON, layout="centered")
    st.html(STYLE + accessibility.markup(), unsafe_allow_javascript=True)
    if token := st.query_params.get(invitation.PARAMETER):
        invitation_screen(token)
        return
    try:
        account = errors.wait_for_database(sign_in.get_account, st.empty())
        cookie.draw_request()  # after it: whoever was shut out since the last run loses their cookie with this one
    except ServiceError as error:
        errors.report(error)
        errors.show(error)
        return
    guard.note_signed_in(signed_in=account is not None)
    if account is None:
        sign_in_screen()
        return
    guard.note_role(account)
    errors.begin_page()
    console(account)


main()
