"""What the page "Relatórios" says, and to whom; how people use it is in tests/browser."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from streamlit.testing.v1 import AppTest

from services.db.actor import Actor, Role
from services.reporting import rollups
from tests.support.databases import Database
from tests.support.pages import open_tab, texts_of
from tests.support.paths import ROOT
from tests.support.sessions import connected
from ui.reporting import report_figures

PAGE = ROOT / "pages" / "reports.py"


def look(actor: Actor) -> AppTest:
    at = open_tab(PAGE, actor).run()
    assert not at.exception
    return at


def sent(
    database: Database, actor: Actor, *, days_ago: int = 0, state: str = "read", failure: str | None = None
) -> None:
    at = datetime.now(UTC) - timedelta(days=days_ago)
    database.execute(
        "insert into messages (session_id, user_id, direction, state, failure, phone, run_at, sending_at, delivered_at)"
        " select id, user_id, 'out', %s, %s, '5511987654321', %s, %s, %s from whatsapp_sessions where user_id = %s",
        state, failure, at, at, at + timedelta(seconds=2), actor.user_id,
    )  # fmt: skip


def figures(at: AppTest) -> dict[str, str]:
    return {one.label: str(one.value) for one in at.metric}


def test_it_says_what_to_do_where_there_is_nothing_yet(user: Actor) -> None:
    assert "**Nada neste período.**" in texts_of(look(user))


def test_it_shows_a_week_beside_the_week_before(database: Database, user: Actor) -> None:
    connected(database, user)
    for days_ago in (0, 1, 8):
        sent(database, user, days_ago=days_ago)
    sent(database, user, state="failed", failure="not_on_whatsapp")
    rollups.run_round()
    at = look(user)
    shown = figures(at)
    assert (shown["Enviadas"], shown["Falharam"], shown["Entregues"], shown["Até ler"]) == ("2", "1", "100%", "–")
    assert next(one.delta for one in at.metric if one.label == "Enviadas") == "+100%"
    assert "Esse número não está no WhatsApp; nada foi enviado." in at.main.table[0].value.to_string()


def test_it_shows_staff_everybody_and_users_only_themselves(
    database: Database, new_actor: Callable[..., Actor]
) -> None:
    one, other, staff = new_actor(), new_actor(), new_actor(Role.OPERATOR)
    for person in (one, other):
        connected(database, person)
        sent(database, person)
    rollups.run_round()
    assert figures(look(one))["Enviadas"] == "1"
    at = look(staff)
    assert figures(at)["Enviadas"] == "2"
    ranked = at.main.table[-1].value.to_string()
    assert one.email in ranked
    assert other.email in ranked
    at.selectbox(key="report_whose").select(other.user_id).run()
    assert figures(at)["Enviadas"] == "1"
    assert not look(one).selectbox


def test_it_writes_shares_without_needless_digits() -> None:
    assert [report_figures.format_share(one) for one in (1, 0.975, 0.3333)] == ["100%", "97,5%", "33,3%"]
