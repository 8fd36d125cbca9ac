"""Who may see a page: the first statement of every page and of every fragment.

A fragment's rerun skips the entry script, and a page may run without it. So each asks for itself, and asks the
database: a new role, a deactivation and a revocation apply from the next run on.
"""

import contextlib
from urllib.parse import urlsplit

import streamlit as st

from services import log
from services.accounts.sign_in import Account, SignIn, get_account
from services.db.actor import Actor, Role
from services.errors import DatabaseUnavailable, Forbidden, Unauthenticated
from services.security import audit_log
from ui.shell import cookie, errors

SIGN_IN = "sign_in"
SIGN_IN_ENDED = "sign_in_ended"
_ROLE = "role_seen"
_SIGNED_IN_SCREEN = "signed_in_screen"


def guard(*roles: Role) -> Actor:
    """The signed-in person, if they have one of `roles` (any role if none is named); else a sentence, and the run ends.

    Where the person was signed in until now or had another role, the whole app runs anew, so that nothing drawn for
    who they were stays on the screen.
    """
    if log.get_request_id() is None:  # a fragment's rerun skips the entry script
        log.bind_request_id()
    account = errors.wait_for_database(get_current_account)
    if account is None:
        if st.session_state.pop(_SIGNED_IN_SCREEN, False):
            st.rerun()
        errors.show(Unauthenticated())
        st.stop()
    if roles and account.actor.role not in roles:
        if note_role(account):
            st.rerun()
        _record_refusal(account.actor)
        errors.show(Forbidden())
        st.stop()
    return account.actor


def _record_refusal(actor: Actor) -> None:
    """A page that is refused is on the record, once a minute; a database that is away must not hide the refusal."""
    with contextlib.suppress(DatabaseUnavailable):
        audit_log.record_refusal(actor, "page_refused", _page_path(), client_address())


def client_address() -> str | None:
    """Where the browser is; None on this machine itself, and where there is no browser (AppTest)."""
    found = st.context.ip_address
    return found if isinstance(found, str) else None


def _page_path() -> str:
    """The page that was asked for, without what stands behind its `?`."""
    found = st.context.url
    return urlsplit(found).path if isinstance(found, str) else "?"


def get_current_account() -> Account | None:
    """The person signed in in this tab, as the database knows them now."""
    sign_in = st.session_state.get(SIGN_IN)
    if not isinstance(sign_in, SignIn):
        return None
    account = get_account(sign_in)
    if account is None:
        sign_out_tab()
        st.session_state[SIGN_IN_ENDED] = True
    return account


def note_role(account: Account) -> bool:
    """Note the role for which the screen is drawn; True if it is another one than before."""
    before = st.session_state.get(_ROLE)
    st.session_state[_ROLE] = account.actor.role
    return before != account.actor.role


def note_signed_in(signed_in: bool) -> None:
    """Note for whom the entry script draws the screen. What a person's screen showed must go with them, also where the
    first to notice is a fragment: its rerun may come between a click on the way out and the app's own run."""
    st.session_state[_SIGNED_IN_SCREEN] = signed_in


def sign_in_tab(sign_in: SignIn) -> None:
    """Sign this tab in, from nothing: what somebody else left in it is gone."""
    st.session_state.clear()
    st.session_state[SIGN_IN] = sign_in


def sign_out_tab() -> None:
    """Sign this tab out and leave nothing of the person in it, nor in the browser."""
    on_screen = st.session_state.get(_SIGNED_IN_SCREEN, False)
    st.session_state.clear()
    st.session_state[_SIGNED_IN_SCREEN] = on_screen
    cookie.request_removal()
