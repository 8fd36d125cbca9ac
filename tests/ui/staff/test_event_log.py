"""What the page "Eventos" says; how people use it is in tests/browser."""

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from services.db.actor import Actor, Role
from services.inbound import event_log
from tests.support.databases import Database
from tests.support.pages import open_tab, texts_of
from tests.support.paths import ROOT
from ui.kit.quantities import duration, size

PAGE = ROOT / "pages" / "events.py"


@pytest.fixture
def page(new_actor: Callable[..., Actor]) -> AppTest:
    return open_tab(PAGE, new_actor(Role.OPERATOR))


def store(database: Database, count: int, verdict: str = "handled", age: str = "0") -> None:
    database.execute(
        "insert into events (session, kind, verdict, handled_at, received_at, request_id, body)"
        " select 'user_' || n, 'onack', %s, now(), now() - %s::interval, gen_random_uuid(), '{}'"
        " from generate_series(1, %s) n",
        verdict, age, count,
    )  # fmt: skip


def test_it_says_that_nothing_came(database: Database, page: AppTest) -> None:
    said = texts_of(page.run())
    assert "Nenhum evento chegou na última hora." in said
    assert "Nenhum evento com este filtro." in said


def test_it_says_how_long_the_oldest_waits(database: Database, page: AppTest) -> None:
    store(database, 1, "received", "10 minutes")
    assert "O evento mais antigo na fila espera há 10 min." in texts_of(page.run())


def test_it_turns_pages_and_starts_anew_with_another_filter(database: Database, page: AppTest) -> None:
    store(database, event_log.PAGE_SIZE + 1)

    def rows() -> int:
        return len(page.main.dataframe[0].value)

    page.run()
    assert not page.exception
    assert rows() == event_log.PAGE_SIZE
    page.button(key="events_older").click().run()
    assert rows() == 1
    assert page.button(key="events_older").disabled
    page.selectbox(key="events_kind").select("onack").run()
    assert rows() == event_log.PAGE_SIZE
    page.text_input(key="events_session").input("user_7").run()
    assert rows() == 1
    assert not page.exception


@pytest.mark.parametrize(("verdict", "offered"), [("failed", True), ("handled", False)])
def test_it_offers_to_replay_what_failed(database: Database, page: AppTest, verdict: str, offered: bool) -> None:
    store(database, 2, verdict)
    labels = [button.label for button in page.run().main.button]
    assert ("Reprocessar todos os que falharam" in labels) == offered


def test_it_says_when_a_search_means_too_many(
    database: Database, page: AppTest, new_actor: Callable[..., Actor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log, "MAX_NAMES", 1)
    new_actor(email="ana@example.com")
    page.run().text_input(key="events_session").input("ana").run()
    assert "A busca encontra gente demais" in texts_of(page)


def test_it_tells_sizes_and_durations_in_words() -> None:
    assert [duration(seconds) for seconds in (0.04, 45, 600, 7200, 200_000)] == [
        "0,0 s",
        "45 s",
        "10 min",
        "2 h",
        "2 dias",
    ]
    assert [size(amount) for amount in (1023, 1024, 3 * 1024 * 1024)] == ["1023 B", "1,0 KB", "3,0 MB"]
