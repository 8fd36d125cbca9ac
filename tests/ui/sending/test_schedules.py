"""What the page "Agendamentos" says; how people use it is in tests/browser."""

from datetime import UTC, datetime, timedelta

import pytest

from services.contacts import opt_outs
from services.db.actor import Actor
from services.messaging import kill_switch
from services.messaging.content import Content
from services.outreach import schedules
from services.outreach.recurrence import ScheduleDraft, ScheduleRecipient
from services.platform import local_time
from tests.support.databases import Database
from tests.support.pages import look_at, open_tab, texts_of
from tests.support.paths import ROOT
from tests.support.sessions import connected
from ui.sending import schedule_words

PAGE = ROOT / "pages" / "schedules.py"
ZONE = "America/Sao_Paulo"


def make(actor: Actor, rule: str | None = "FREQ=DAILY", name: str = "Bom dia") -> schedules.Schedule:
    first = (local_time.to_local(datetime.now(UTC), ZONE) + timedelta(hours=2)).replace(second=0, microsecond=0)
    return schedules.create(
        actor, ScheduleDraft(name, ZONE, first, rule, (ScheduleRecipient("5511987654321", "Ana"),), Content(body="Oi!"))
    )


def test_it_says_what_to_do_where_there_is_none(user: Actor) -> None:
    assert "Nenhum agendamento. Com **Novo agendamento**" in texts_of(look_at(PAGE, user))


def test_it_says_why_a_stranger_will_most_likely_get_nothing(user: Actor, database: Database) -> None:
    make(user)
    assert "recusando conversas novas" not in texts_of(look_at(PAGE, user))
    database.execute(
        "insert into campaign_lanes (user_id, time_zone, restricted_at, probe_at) values (%s, 'UTC', now(), now())",
        user.user_id,
    )
    assert "recusando conversas novas" in texts_of(look_at(PAGE, user))


def test_it_shows_each_with_its_next_time_and_what_became_of_the_last(user: Actor, database: Database) -> None:
    made = make(user)
    database.execute(
        "insert into schedule_runs (schedule_id, user_id, local_time, due_at, state, reason)"
        " values (%s, %s, now(), now() - interval '1 hour', 'missed', 'disconnected')",
        made.id,
        user.user_id,
    )
    said = texts_of(look_at(PAGE, user))
    assert "Bom dia" in said
    assert "Todo dia · America/Sao Paulo" in said
    assert "Para: Ana" in said
    assert made.next is not None
    assert schedule_words.wall_time_words(made.next.wall) in said
    assert "O WhatsApp estava desconectado na hora marcada." in said


def test_it_offers_what_was_written_for_a_change(user: Actor) -> None:
    made = make(user, "FREQ=WEEKLY;BYDAY=MO,WE;COUNT=6", "Lembrete semanal")
    at = look_at(PAGE, user, id=str(made.id))
    assert at.text_input[0].value == "Lembrete semanal"
    assert at.text_area[0].value == "Oi!"
    kinds = [one.value for one in at.selectbox]
    assert kinds == ["WEEKLY", "COUNT"]
    assert [one.value for one in at.multiselect] == [["MO", "WE"]]
    assert "**Próximas datas**" in texts_of(at)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (None, "Uma vez"),
        ("FREQ=DAILY;INTERVAL=2", "Todo dia (a cada 2)"),
        ("FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", "De segunda a sexta"),
        ("FREQ=WEEKLY;BYDAY=SA,SU", "Toda semana: sáb, dom"),
        ("FREQ=MONTHLY;COUNT=3", "Todo mês, 3 vezes"),
        ("FREQ=MONTHLY;BYDAY=-1FR", "FREQ=MONTHLY;BYDAY=-1FR"),
    ],
)
def test_it_says_how_often(rule: str | None, words: str) -> None:
    assert schedule_words.rule_words(ScheduleDraft("x", ZONE, datetime(2020, 1, 1), rule, ())) == words


def test_it_draws_the_month(user: Actor) -> None:
    make(user)
    at = look_at(PAGE, user)
    at.button_group[0].set_value(["Calendário"]).run()
    assert not at.exception
    assert "Bom dia" in texts_of(at)


def test_it_says_on_every_page_that_sends_that_nothing_leaves(user: Actor, database: Database) -> None:
    connected(database, user)
    kill_switch.stop_sending(user)
    for page in ("schedules", "campaigns", "send"):
        at = open_tab(ROOT / "pages" / f"{page}.py", user).run()
        assert "**Os envios estão parados desde" in texts_of(at)
        assert "Voltar a enviar" in [button.label for button in at.main.button]


def test_it_tells_a_person_that_staff_stopped_them(user: Actor, staff: Actor, database: Database) -> None:
    connected(database, user)
    kill_switch.stop_sending(staff, user.user_id)
    at = look_at(PAGE, user)
    assert "**A equipe parou os seus envios às" in texts_of(at)
    assert "Voltar a enviar" not in [button.label for button in at.main.button]


def test_it_says_who_asked_for_silence_while_it_is_made_and_afterwards(user: Actor) -> None:
    made = make(user)
    opt_outs.add(user, "5511987654321@c.us")
    assert "Pediram para não receber e ficam de fora: Ana." in texts_of(look_at(PAGE, user, id=str(made.id)))
    assert "Ninguém recebe: quem receberia pediu para não receber mais." in texts_of(look_at(PAGE, user))
