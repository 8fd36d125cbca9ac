"""What the page "Limpeza" says, and to whom it offers what; how people use it is in tests/browser."""

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from services.db.actor import Actor, Role
from tests.support.databases import Database
from tests.support.pages import open_tab, texts_of
from tests.support.paths import ROOT

PAGE = ROOT / "pages" / "cleanup.py"


@pytest.fixture
def look(new_actor: Callable[..., Actor]) -> Callable[..., AppTest]:
    def as_(role: Role = Role.ADMIN, email: str = "") -> AppTest:
        at = open_tab(PAGE, new_actor(role, email)).run()
        assert not at.exception
        return at

    return as_


def insert_expired_row(database: Database) -> None:
    database.execute("insert into heartbeats (process, instance, beat_at) values ('x', 'y', now() - interval '2 days')")


def test_it_says_so_where_there_is_nothing_to_clean(look: Callable[..., AppTest]) -> None:
    said = texts_of(look())
    assert "**Nada para limpar.**" in said
    assert "Nenhuma ainda. A primeira acontece sozinha dentro de uma hora." in said


@pytest.mark.parametrize(("role", "buttons"), [(Role.ADMIN, ["Limpar agora"]), (Role.OPERATOR, [])])
def test_it_shows_all_staff_what_would_go_and_offers_it_to_admins(
    look: Callable[..., AppTest], database: Database, role: Role, buttons: list[str]
) -> None:
    insert_expired_row(database)
    at = look(role)
    assert "Fora do prazo: **1**" in texts_of(at)
    assert [button.label for button in at.main.button] == buttons
    assert ("Só a administração pode limpar antes da hora." in texts_of(at)) == (not buttons)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("null, null, 0, null", "Pode fechar esta página: a limpeza continua sozinha."),
        ("now(), null, 0, null", "Pode fechar esta página: a limpeza continua sozinha."),
        ("now(), now(), 3, null", "**Sessões que ficaram para depois: 3.**"),
        ("now(), now(), 0, 'ProgrammingError'", "**A última limpeza parou no meio.**"),
    ],
    ids=["queued", "running", "postponed", "failed"],
)
def test_it_says_how_the_last_one_went(
    look: Callable[..., AppTest], database: Database, row: str, sentence: str
) -> None:
    database.execute(
        f"insert into cleanup_runs (kinds, started_at, finished_at, postponed, error) values ('{{sessions}}', {row})"
    )
    insert_expired_row(database)
    at = look()
    assert sentence in texts_of(at)
    assert bool(at.main.button) == ("Pode fechar" not in sentence)


def test_it_forgets_the_news_after_a_while(look: Callable[..., AppTest], database: Database) -> None:
    database.execute(
        "insert into cleanup_runs (kinds, finished_at, postponed) values ('{sessions}', now() - interval '1 hour', 3)"
    )
    said = texts_of(look())
    assert "ficaram para depois" not in said
    assert "Sessões adiadas: 3" in said


def test_it_names_who_cleaned_as_text_and_not_as_markdown(
    look: Callable[..., AppTest], database: Database, new_actor: Callable[..., Actor]
) -> None:
    odd = new_actor(Role.ADMIN, "*a*@example.com")
    database.execute(
        "insert into cleanup_runs (actor_id, kinds, counts, finished_at) values (%s, '{events}', '{\"events\": 1234}',"
        " now() - interval '1 hour')",
        odd.user_id,
    )
    at = look()
    assert any(element.value.endswith("· *a*@example.com") for element in at.main.text)
    assert "Eventos já tratados: 1.234" in texts_of(at)
