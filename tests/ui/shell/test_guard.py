"""Every page and every fragment guards itself: anonymous people and wrong roles see one sentence and nothing else."""

import ast
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from services import settings
from services.db import engine
from services.db.actor import Actor, Role
from services.errors import DatabaseUnavailable, Forbidden, Unauthenticated
from tests.support.databases import Database
from tests.support.pages import PAGES, open_tab
from tests.support.paths import ROOT
from ui.shell import errors, guard

STAFF = {Role.ADMIN, Role.OPERATOR}
# Who may see each page. A page that is missing here fails the test: decide, then write it down.
ROLES = {
    "my_whatsapp": set(Role),
    "send": set(Role),
    "reports": set(Role),
    "templates": set(Role),
    "schedules": set(Role),
    "campaigns": set(Role),
    "keys": set(Role),
    "conversations": set(Role),
    "uncertain": set(Role),
    "sessions": STAFF,
    "session": STAFF,
    "cleanup": STAFF,
    "audit": STAFF,
    "isolation": STAFF,
    "users": STAFF,
    "diagnostics": set(Role),
    "message": set(Role),
    "events": STAFF,
    "servers": STAFF,
    "forwarding": set(Role),
    "rules": set(Role),
    "outages": set(Role),
}
EVERYBODY = [(page, role) for page in PAGES for role in Role]


def name_of(value: object) -> str:
    return value.stem if isinstance(value, Path) else str(value)


def shown(at: AppTest) -> list[str]:
    """Every text on the screen outside the sidebar."""
    return [str(element.value) for element in at.main if hasattr(element, "value") and element.type != "html"]


def sentence(error: type[Unauthenticated | Forbidden]) -> str:
    return f"**{error.message}** {error.hint}"


def test_it_knows_who_may_see_each_page() -> None:
    assert {page.stem for page in PAGES} == set(ROLES)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_it_shows_anonymous_people_nothing(database: Database, page: Path) -> None:
    at = open_tab(page).run()
    assert not at.exception
    assert shown(at) == [sentence(Unauthenticated)]


@pytest.mark.parametrize(("page", "role"), EVERYBODY, ids=name_of)
def test_it_shows_the_wrong_role_nothing(new_actor: Callable[..., Actor], page: Path, role: Role) -> None:
    at = open_tab(page, new_actor(role)).run()
    if role in ROLES[page.stem]:
        assert sentence(Forbidden) not in shown(at)
        assert sentence(Unauthenticated) not in shown(at)
    else:
        assert not at.exception
        assert shown(at) == [sentence(Forbidden)]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_it_shows_nothing_once_the_person_is_shut_out(
    database: Database, new_actor: Callable[..., Actor], page: Path
) -> None:
    actor = new_actor(Role.ADMIN)
    at = open_tab(page, actor)
    database.execute("insert into accounts (user_id, active) values (%s, false)", actor.user_id)
    at.run()
    assert shown(at) == [sentence(Unauthenticated)]
    assert guard.SIGN_IN not in at.session_state


def test_it_offers_each_role_its_pages_and_no_other(new_actor: Callable[..., Actor]) -> None:
    for role in Role:
        at = open_tab(ROOT / "ui" / "main.py", new_actor(role)).run()
        for page in PAGES:
            if role in ROLES[page.stem]:
                at.switch_page(str(page))
            else:
                with pytest.raises(ValueError, match="page"):
                    at.switch_page(str(page))


def test_it_names_the_person_and_the_role_in_the_sidebar(database: Database, new_actor: Callable[..., Actor]) -> None:
    actor = new_actor(Role.OPERATOR)
    database.execute("insert into accounts (user_id, name) values (%s, 'Rui <b>*Dias*')", actor.user_id)
    at = open_tab(ROOT / "ui" / "main.py", actor).run()
    assert [element.value for element in at.sidebar.text] == ["Rui <b>*Dias*"]
    assert "Operação" in [element.value for element in at.sidebar.caption]


@pytest.mark.parametrize(
    "change",
    [
        "insert into accounts (user_id, active) values (%s, false)",
        "insert into accounts (user_id, token_version) values (%s, 2)",
        "update auth.users set banned_until = now() + interval '1 day' where id = %s",
        "update auth.users set deleted_at = now() where id = %s",
    ],
)
def test_it_shuts_an_open_tab_with_the_next_run(database: Database, user: Actor, change: str) -> None:
    at = open_tab(ROOT / "ui" / "main.py", user).run()
    assert at.button(key="sign_out")
    database.execute(change, user.user_id)
    at.run()
    assert not at.sidebar.button
    assert sentence(Unauthenticated) in shown(at)
    assert [field.label for field in at.text_input] == ["E-mail", "Senha"]


def test_it_follows_a_change_of_role_with_the_next_run(database: Database, user: Actor) -> None:
    at = open_tab(ROOT / "ui" / "main.py", user).run()
    set_role = "update auth.users set raw_app_meta_data = jsonb_build_object('role', %s::text) where id = %s"
    database.execute(set_role, "operator", user.user_id)
    at.run()
    at.switch_page(str(ROOT / "pages" / "sessions.py")).run()
    assert sentence(Forbidden) not in shown(at)
    database.execute(set_role, "user", user.user_id)
    at.run()
    with pytest.raises(ValueError, match="page"):
        at.switch_page(str(ROOT / "pages" / "sessions.py"))


def test_it_says_so_when_the_database_is_down(user: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    at = open_tab(PAGES[0], user)
    monkeypatch.setattr(errors, "DATABASE_WAIT_SECONDS", 0.0)
    monkeypatch.setenv("AUTH_COOKIE_KEY", "k" * 32)
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    settings.get.cache_clear()
    engine.get_console_engine.cache_clear()
    at.run()
    assert not at.exception
    assert [element.value for element in at.error] == [f"**{DatabaseUnavailable.message}** {DatabaseUnavailable.hint}"]
    assert guard.SIGN_IN in at.session_state, "the person is still signed in when the database is back"


def is_guard(statement: ast.stmt) -> bool:
    call = getattr(statement, "value", None)
    if not isinstance(call, ast.Call):
        return False
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    return name == "guard"


def first_statement(body: list[ast.stmt]) -> ast.stmt:
    """The first that does anything: after imports, a docstring and plain constants."""
    idle = (ast.Import, ast.ImportFrom)
    return next(
        one for one in body if not isinstance(one, idle) and not isinstance(getattr(one, "value", 0), ast.Constant)
    )


@pytest.mark.parametrize(("drawn_for_somebody", "runs"), [(True, 2), (False, 1)])
def test_it_runs_the_app_anew_where_a_fragment_is_the_first_to_find_nobody_signed_in(
    database: Database, drawn_for_somebody: bool, runs: int
) -> None:
    """A push may rerun a fragment between the click on "Sair" and the app's own run: the page must not stay."""
    at = AppTest.from_function(a_page_that_counts_its_runs, default_timeout=60)
    at.session_state["drawn_for_somebody"] = drawn_for_somebody
    at.run()
    assert at.session_state["runs"] == runs
    assert shown(at) == [sentence(Unauthenticated)]


def a_page_that_counts_its_runs() -> None:
    import streamlit as st

    from ui.shell import guard

    if "runs" not in st.session_state:
        guard.note_signed_in(signed_in=st.session_state["drawn_for_somebody"])
    st.session_state["runs"] = st.session_state.get("runs", 0) + 1
    guard.guard()
    st.write("private")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_it_begins_each_page_with_the_guard(page: Path) -> None:
    assert is_guard(first_statement(ast.parse(page.read_text()).body))


def fragments(path: Path) -> list[ast.FunctionDef]:
    found = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef))
    return [node for node in found if any("fragment" in ast.unparse(mark) for mark in node.decorator_list)]


def test_it_begins_each_fragment_with_the_guard() -> None:
    for path in [*PAGES, *sorted((ROOT / "ui").rglob("*.py"))]:
        for function in fragments(path):
            assert is_guard(first_statement(function.body)), f"{path.name}: {function.name}"


def test_it_would_see_a_fragment_without_a_guard(tmp_path: Path) -> None:
    page = tmp_path / "page.py"
    page.write_text("@st.fragment(run_every=1)\ndef f():\n    'doc'\n    st.write('x')\n")
    (function,) = fragments(page)
    assert not is_guard(first_statement(function.body))
    assert is_guard(ast.parse("actor = guard(Role.ADMIN)").body[0])
