"""The console's pages without a browser, as Streamlit's own tester runs them."""

from pathlib import Path

from streamlit.testing.v1 import AppTest

from services.accounts import sign_in
from services.db.actor import Actor
from tests.support.paths import ROOT
from ui.shell import guard

PAGES = sorted((ROOT / "pages").glob("*.py"))


def open_tab(path: Path, actor: Actor | None = None) -> AppTest:
    """A page, or the whole app, in a tab that the actor has signed in at; it is drawn by the first `run()`."""
    at = AppTest.from_file(str(path), default_timeout=60)
    if actor is not None and actor.user_id is not None:
        at.session_state[guard.SIGN_IN] = sign_in.open_sign_in(actor.user_id)
    return at


def look_at(path: Path, actor: Actor, **query: str) -> AppTest:
    """A page as the actor sees it at an address with `query`."""
    at = open_tab(path, actor)
    for name, value in query.items():
        at.query_params[name] = value
    at.run()
    assert not at.exception
    return at


def texts_of(at: AppTest) -> str:
    """Every text on the page, one a line."""
    return "\n".join(str(element.value) for element in at.main if hasattr(element, "value"))
