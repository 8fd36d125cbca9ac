"""What the page "Servidores" says, and to whom it offers what; how people use it is in tests/browser."""

import json
from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from services import settings
from services.db.actor import Actor, Role
from services.wppconnect import contract_facts
from services.wppconnect.contract_facts import Outcome
from tests.support.databases import Database
from tests.support.pages import open_tab, texts_of
from tests.support.paths import ROOT
from tests.support.process_state import forget_process_state
from tests.support.waiting import wait_for
from ui.staff import server_checks

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
        at = open_tab(PAGE, new_actor(role)).run()
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
    said = texts_of(look())
    assert "**Servidor 1**" in said
    assert "1º endereço de WPP_SERVER_URL · será olhado dentro de 20 segundos" in said


def test_it_shows_load_version_latency_and_uptime(look: Callable[..., AppTest], database: Database) -> None:
    stored(
        database,
        healthy="true",
        checked_at="now()",
        latency_ms="12",
        version="'2.10.4'",
        started_at="now() - interval '3 days'",
        scanned_at="now() - interval '5 minutes'",
    )
    sessions_on(database, 3)
    sessions_on(database, 2, "pareando")
    at = look()
    said = texts_of(at)
    assert "versão 2.10.4 · latência 12 ms · no ar desde" in said
    assert "Verificação de segurança há 5 min: nada a corrigir." in said
    assert [metric.value for metric in at.main.metric] == ["1 de 1", "5", "95"]


@pytest.mark.parametrize(
    ("columns", "sentences"),
    [
        (
            {"healthy": "false", "checked_at": "now()", "error": "'wppconnect_inacessivel'", "error_at": "now()"},
            ["**O servidor do WhatsApp não está respondendo.**", "Confira se o servidor está no ar"],
        ),
        (
            {"healthy": "false", "checked_at": "now()", "error": "'wppconnect_token'", "error_at": "now()"},
            ["não aceitou nossa credencial", "SECRET_KEY com que ele roda"],
        ),
        (
            {"healthy": "true", "checked_at": "now()", "error": "'x'", "error_at": "now() - interval '3 hours'"},
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
    said = texts_of(look())
    for sentence in sentences:
        assert sentence in said


def test_it_shows_what_is_configured_no_longer_and_offers_nothing_for_it(
    look: Callable[..., AppTest], database: Database
) -> None:
    stored(database, healthy="true", checked_at="now()")
    stored(database, "http://gone.internal:1", healthy="true", checked_at="now()", warnings="'{unhealthy}'")
    at = look()
    assert "Não está mais em WPP_SERVER_URL" in texts_of(at)
    assert "/unhealthy" not in texts_of(at)
    assert [button.label for button in at.main.button].count("Esvaziar") == 1


def test_it_lets_operators_look_and_admins_change(look: Callable[..., AppTest]) -> None:
    assert [button.label for button in look(Role.OPERATOR).main.button] == ["Olhar agora"]
    labels = {button.label for button in look().main.button}
    assert labels == {"Olhar agora", "Conferir contrato", "Guardar", "Esvaziar"}


def test_it_saves_a_capacity(look: Callable[..., AppTest], database: Database) -> None:
    at = look()
    at.number_input(key="capacity_1").set_value(7)
    next(button for button in at.main.button if button.label == "Guardar").click().run()
    assert not at.exception
    assert database.one("select capacity from wpp_servers") == 7


def test_it_never_shows_an_address_or_a_secret(look: Callable[..., AppTest], database: Database) -> None:
    stored(database, healthy="false", state_since="now()", error="'wppconnect'", error_at="now()", checked_at="now()")
    drawn = str(look())
    assert "wpp-one" not in drawn
    assert not [secret for secret in settings.get().secret_values() if secret in drawn]


# --- a server's check -------------------------------------------------------------------------------------------------


def check(database: Database, facts: list[tuple[str, Outcome, str]] | None = None, **columns: str) -> None:
    """A check's row; `facts` are name, outcome and answer, the other values are SQL."""
    rows = [
        {"name": name, "outcome": outcome, "expected": "200 application/json", "answered": answered}
        for name, outcome, answered in facts or ()
    ]
    values = {"steps": "31", "done": "31", "finished_at": "now() - interval '2 hours'", "version": "'2.10.4'"} | columns
    database.execute(
        f"insert into server_checks (url, facts, {', '.join(values)})"
        f" values ('{ADDRESS}', %s, {', '.join(values.values())})",
        json.dumps(rows),
    )


def test_it_says_how_far_a_check_is_and_offers_no_second_one(look: Callable[..., AppTest], database: Database) -> None:
    stored(database)
    check(database, done="7", finished_at="null", version="null")
    at = look()
    assert "Conferindo o contrato: 7 de 31" in [bar.proto.text for bar in at.main.get("progress")]
    assert at.button(key="check_1").disabled
    database.execute("update server_checks set started_at = now() - interval '6 minutes'")
    at = look()
    assert "A última conferência do contrato foi interrompida." in texts_of(at)
    assert not at.button(key="check_1").disabled


def test_it_says_what_differs_and_what_was_not_checked(look: Callable[..., AppTest], database: Database) -> None:
    stored(database, version="'2.10.4'", checked_at="now()", healthy="true")
    facts = [
        ("no token", Outcome.HOLDS, "401 application/json"),
        ("start-session", Outcome.DIFFERS, "202 application/json"),
        ("a start shows its QR", Outcome.UNCHECKED, "no webhook has arrived"),
        ("a fact of an earlier console", Outcome.DIFFERS, ""),
    ]
    check(database, facts)
    at = look(Role.OPERATOR)
    said = texts_of(at)
    assert "**Este servidor não responde como o console espera** (versão `2.10.4`, há 2 h): 1 pontos valem, 2" in said
    assert "**Difere:** start-session responde na hora, com o estado de antes do início." in said
    assert "202 application/json" in [code.value for code in at.main.code]
    assert "**Difere:** `a fact of an earlier console`" in said
    assert "(nenhum aviso chegou: o servidor não alcança este processo)" in said


def test_it_is_content_with_a_server_that_keeps_to_the_contract(
    look: Callable[..., AppTest], database: Database
) -> None:
    stored(database, version="'2.10.4'", checked_at="now()", healthy="true")
    check(database, [("no token", Outcome.HOLDS, "401")])
    at = look()
    assert "Contrato conferido há 2 h (versão `2.10.4`): 1 pontos valem, 0 diferem, 0 não conferidos." in texts_of(at)
    assert not at.main.expander


def test_it_warns_of_a_version_that_was_never_checked(look: Callable[..., AppTest], database: Database) -> None:
    stored(database, version="'2.11.0'", checked_at="now()", healthy="true")
    check(database)
    assert "**A versão mudou de `2.10.4` para `2.11.0` desde a última conferência.**" in texts_of(look())


def test_it_says_why_a_server_could_not_be_checked(look: Callable[..., AppTest], database: Database) -> None:
    stored(database)
    check(database, version="null", error="'wppconnect_token'")
    assert "**O contrato não pôde ser conferido há 2 h.** O servidor do WhatsApp não aceitou" in texts_of(look())


def test_it_begins_a_check(look: Callable[..., AppTest], database: Database) -> None:
    stored(database)
    at = look()
    at.button(key="check_1").click().run()
    assert not at.exception
    wait_for(lambda: database.one("select error from server_checks") is not None, seconds=30)
    assert database.one("select error from server_checks") == "wppconnect_inacessivel"


def test_it_says_of_what_a_wrong_secret_does_whence_it_is_known(
    look: Callable[..., AppTest], database: Database
) -> None:
    stored(database, warnings="'{wrong_secret}'", version="'2.10.4'", scanned_at="now()")
    at = look()
    assert "agem também com um segredo errado" in texts_of(at)
    assert "é conhecido das versões até a 2.10.4" in texts_of(at)
    assert "nada a corrigir" in texts_of(at)


def test_it_has_a_sentence_for_every_fact() -> None:
    assert set(server_checks.FACT_SENTENCES) == set(contract_facts.FACTS)
