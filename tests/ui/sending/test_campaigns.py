"""What the page "Campanhas" says in each state; how people use it is in tests/browser."""

from datetime import UTC, datetime
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from services.db.actor import Actor
from services.outreach import campaigns, template_content, templates
from services.outreach.campaign_state import Campaign
from tests.support.campaigns import make_recipients
from tests.support.databases import Database
from tests.support.local_times import SAO_PAULO
from tests.support.pages import look_at, texts_of
from tests.support.paths import ROOT
from tests.support.sessions import connected

PAGE = ROOT / "pages" / "campaigns.py"


@pytest.fixture
def made(user: Actor, database: Database) -> Campaign:
    connected(database, user)
    template = templates.save(user, template_content.TemplateDraft("Oferta", "Oi, {{nome}}!"))
    return campaigns.create(user, "Novidades", template, make_recipients(3))


def test_it_says_what_to_do_where_there_is_none(user: Actor) -> None:
    assert "Nenhuma campanha. Com **Nova campanha**" in texts_of(look_at(PAGE, user))


def test_it_lists_them_with_how_far_they_are(user: Actor, made: Campaign) -> None:
    at = look_at(PAGE, user)
    assert "Novidades" in texts_of(at)
    assert "Oferta · criada agora há pouco" in texts_of(at)


def test_it_foretells_a_draft_and_begins_it_when_confirmed(user: Actor, made: Campaign, database: Database) -> None:
    at = look_at(PAGE, user, id=str(made.id))
    assert "**3 mensagens**, termina" in texts_of(at)
    button = next(one for one in at.main.button if one.label == "Começar: 3 mensagens")
    button.click().run()
    assert not at.exception
    assert database.one("select state from campaigns") == "active"
    assert "Pausar" in [one.label for one in at.main.button]


@pytest.mark.parametrize(
    ("why", "words"),
    [
        ("quiet", "Fora do horário de envio: continua às "),
        ("cap", "O limite de hoje foi atingido"),
        ("cold", "para quem não conhece você"),
        ("disconnected", "O WhatsApp está desconectado"),
        ("stopped", "Os envios estão parados"),
        ("restricted", "Só falta quem nunca escreveu a você"),
        ("backlog", "ainda não saíram da fila"),
    ],
)
def test_it_says_what_it_waits_for(user: Actor, made: Campaign, database: Database, why: str, words: str) -> None:
    campaigns.confirm(user, made.id, SAO_PAULO)
    database.execute("update campaign_lanes set waiting_reason = %s", why)
    assert words in texts_of(look_at(PAGE, user, id=str(made.id)))


def test_it_says_that_whatsapp_refuses_strangers_and_pauses_all(
    user: Actor, made: Campaign, database: Database
) -> None:
    campaigns.confirm(user, made.id, SAO_PAULO)
    assert "recusando conversas novas" not in texts_of(look_at(PAGE, user, id=str(made.id)))
    database.execute("update campaign_lanes set restricted_at = now(), probe_at = now() + interval '6 hours'")
    at = look_at(PAGE, user, id=str(made.id))
    assert "O WhatsApp está recusando conversas novas desta conta" in texts_of(at)
    assert "Uma só mensagem testa a partir de" in texts_of(at)
    next(one for one in at.main.button if one.label == "Pausar tudo").click().run()
    assert not at.exception
    assert database.one("select state from campaigns") == "paused"


def test_it_shows_nothing_of_somebody_elses(staff: Actor, made: Campaign) -> None:
    assert "Novidades" not in texts_of(look_at(PAGE, staff, id=str(made.id)))
    assert "Novidades" not in texts_of(look_at(PAGE, staff))


def test_it_foretells_in_a_sentence() -> None:
    def page(ends: "Any", over: int) -> None:
        from datetime import date

        from services.outreach.campaign_forecast import Forecast
        from ui.sending import campaign_progress

        campaign_progress.show_forecast(Forecast(412, ends, ends, over, {date(2020, 11, 25): 412}))

    now = datetime.now(UTC)
    at = AppTest.from_function(page, args=(now, 12), default_timeout=60).run()
    assert "**412 mensagens**, termina às" in texts_of(at)
    assert "passa do limite de hoje em 12." in texts_of(at)
    assert "não termina com estas regras" in texts_of(
        AppTest.from_function(page, args=(None, 0), default_timeout=60).run()
    )
