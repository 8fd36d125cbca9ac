"""What the page "Servidores" says, and to whom it offers what; the walk through it is in tests/browser."""

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from services import settings
from services.db.actor import Actor, Role
from tests.conftest import Database, forget_process_state
from tests.ui.test_cleanup import texts
from tests.ui.test_guard import ROOT, tab

PAGE = ROOT / "pages" / "servers.py"
ADDRESS = "http://wpp-one.internal:21465"


@pytest.fixture
def look(
    database: Database, monkeypatch: pytest.MonkeyPatch, new_actor: Callable[..., Actor]
) -> Callable[..., AppTest]:
    monkeypatch.setenv("WPP_SERVER_URL", ADDRESS)
    monkeypatch.setenv("WPP_SERVER_TOKEN", "its-secret-key")
    forget_process_state()

    def as_(role: Role = Role.ADMIN) -> AppTest:
        at = tab(PAGE, new_actor(role)).run()
        assert not at.exception
        return at

    return as_


def stored(database: Database, url: str = ADDRESS, **columns: str) -> None:
    """A row; the values are SQL."""
    names = ", ".join(["url", *columns])
    values = ", ".join([f"'{url}'", *columns.values()])
    database.execute(f"insert into wpp_servers ({names}) values ({values})")


def sessions_on(database: Database, count: int, status: str = "conectado") -> None:
    database.execute(
        "with people as (insert into auth.users (id) select gen_random_uuid() from generate_series(1, %s) returning id)"
        " insert into whatsapp_sessions (user_id, session_id, status, server_url)"
        " select id, 'user_' || id, %s, %s from people",
        count,
        status,
        ADDRESS,
    )


def test_it_shows_a_configured_server_before_anybody_has_looked(look: Callable[..., AppTest]) -> None:
    said = texts(look())
    assert "**Servidor 1**" in said
    assert "1º endereço de WPP_SERVER_URL · será olhado dentro de 20 segundos" in said


def test_it_shows_load_version_latency_and_uptime(look: Callable[..., AppTest], database: Database) -> None:
    stored(
        database,
        healthy="true",
        looked_at="now()",
        latency_ms="12",
        version="'2.10.4'",
        started_at="now() - interval '3 days'",
        scanned_at="now() - interval '5 minutes'",
    )
    sessions_on(database, 3)
    sessions_on(database, 2, "pareando")
    at = look()
    said = texts(at)
    assert "versão 2.10.4 · latência 12 ms · no ar desde" in said
    assert "Verificação de segurança há 5 min: nada a corrigir." in said
    assert [metric.value for metric in at.main.metric] == ["1 de 1", "5", "95"]


@pytest.mark.parametrize(
    ("columns", "sentences"),
    [
        (
            {"healthy": "false", "looked_at": "now()", "error": "'wppconnect_inacessivel'", "error_at": "now()"},
            ["**O servidor do WhatsApp não está respondendo.**", "Confira se o servidor está no ar"],
        ),
        (
            {"healthy": "false", "looked_at": "now()", "error": "'wppconnect_token'", "error_at": "now()"},
            ["não aceitou nossa credencial", "SECRET_KEY com que ele roda"],
        ),
        (
            {"healthy": "true", "looked_at": "now()", "error": "'x'", "error_at": "now() - interval '3 hours'"},
            ["Último erro há 3 h:"],
        ),
        (
            {"warnings": "'{factory_secret,unhealthy,open_socket,old_version}'", "version": "'2.8.6'"},
            ["segredo de fábrica", "`/unhealthy` passa até o servidor", "socket.io aceita", "Versão antiga: 2.8.6"],
        ),
        ({"capacity": "0"}, ["Nenhum lugar livre: novas conexões são recusadas."]),
    ],
    ids=["down", "refused", "recovered", "scanned", "full"],
)
def test_it_says_what_is_wrong_and_what_to_do(
    look: Callable[..., AppTest], database: Database, columns: dict[str, str], sentences: list[str]
) -> None:
    stored(database, state_since="now()", **columns)
    said = texts(look())
    for sentence in sentences:
        assert sentence in said


def test_it_shows_what_is_configured_no_longer_and_offers_nothing_for_it(
    look: Callable[..., AppTest], database: Database
) -> None:
    stored(database, healthy="true", looked_at="now()")
    stored(database, "http://gone.internal:1", healthy="true", looked_at="now()", warnings="'{unhealthy}'")
    at = look()
    assert "Não está mais em WPP_SERVER_URL" in texts(at)
    assert "/unhealthy" not in texts(at)
    assert [button.label for button in at.main.button].count("Esvaziar") == 1


def test_it_lets_operators_look_and_admins_change(look: Callable[..., AppTest]) -> None:
    assert [button.label for button in look(Role.OPERATOR).main.button] == ["Olhar agora"]
    assert {button.label for button in look().main.button} == {"Olhar agora", "Guardar", "Esvaziar"}


def test_it_saves_a_capacity(look: Callable[..., AppTest], database: Database) -> None:
    at = look()
    at.number_input(key="capacity_1").set_value(7)
    next(button for button in at.main.button if button.label == "Guardar").click().run()
    assert not at.exception
    assert database.one("select capacity from wpp_servers") == 7


def test_it_never_shows_an_address_or_a_secret(look: Callable[..., AppTest], database: Database) -> None:
    stored(database, healthy="false", state_since="now()", error="'wppconnect'", error_at="now()", looked_at="now()")
    drawn = str(look())
    assert "wpp-one" not in drawn
    assert not [secret for secret in settings.get().secret_values() if secret in drawn]
