"""Rules for what comes in: an answer once a day where nobody is there, labels by keyword, and never a loop."""

from collections.abc import Callable
from datetime import datetime, time, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from services.contacts import opt_outs
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.errors import Forbidden, NotFound
from services.inbound import automation_engine, automations
from services.inbound.automations import RuleIncomplete, RuleKind, RuleOutcome, TooManyRules, WrongHours
from services.platform import local_time
from tests.support.automations import CLOSED, DAY, NIGHT, OFFICE_HOURS, ingest_text
from tests.support.databases import Database
from tests.support.local_times import SAO_PAULO
from tests.support.sessions import connected

MORNING = local_time.to_utc(datetime.combine(DAY, time(10)), SAO_PAULO)


def replies(database: Database) -> list[tuple[str, str]]:
    return database.execute("select phone, body from messages where direction = 'out' order by seq")


@pytest.fixture
def session_id(user: Actor, database: Database) -> UUID:
    return connected(database, user)


def test_it_answers_outside_the_hours_once_a_contact_and_day(user: Actor, session_id: UUID, database: Database) -> None:
    automations.save_auto_reply(user, "Voltamos às 8h.", SAO_PAULO, OFFICE_HOURS)
    assert ingest_text(session_id, at=MORNING) == []
    assert ingest_text(session_id) == [RuleOutcome.REPLIED]
    assert ingest_text(session_id, at=NIGHT + timedelta(minutes=30)) == []
    assert ingest_text(session_id, sender="5511911112222@c.us") == [RuleOutcome.REPLIED]
    assert replies(database) == [("5511987654321", "Voltamos às 8h."), ("5511911112222", "Voltamos às 8h.")]
    assert ingest_text(session_id, at=NIGHT + timedelta(days=1)) == [RuleOutcome.REPLIED]
    assert database.one("select count(*) from messages where detail ? 'auto_reply'") == 3
    (newest, *_rest) = automations.list_uses(user)
    assert (newest.kind, newest.what) == (RuleKind.AUTO_REPLY, RuleOutcome.REPLIED)


def test_it_answers_once_for_two_sessions_of_one_number(
    user: Actor, session_id: UUID, database: Database, new_actor: Callable[..., Actor]
) -> None:
    other = new_actor()
    beside = connected(database, other)
    for actor in (user, other):
        automations.save_auto_reply(actor, "Voltamos às 8h.", SAO_PAULO, CLOSED)
    assert ingest_text(session_id) == [RuleOutcome.REPLIED]
    assert ingest_text(beside) == []
    assert ingest_text(beside, sender="5511911112222@c.us") == [RuleOutcome.REPLIED]
    database.execute("update whatsapp_sessions set phone_number = '5511988887777' where id = %s", beside)
    assert ingest_text(beside) == [RuleOutcome.REPLIED]


def test_its_day_is_that_of_the_rules_own_zone(user: Actor, session_id: UUID) -> None:
    automations.save_auto_reply(user, "Fechado.", SAO_PAULO, CLOSED)
    before_midnight = local_time.to_utc(datetime.combine(DAY, time(23, 50)), SAO_PAULO)
    assert ingest_text(session_id, at=before_midnight) == [RuleOutcome.REPLIED]
    assert ingest_text(session_id, at=before_midnight + timedelta(minutes=5)) == []
    assert ingest_text(session_id, at=before_midnight + timedelta(minutes=15)) == [RuleOutcome.REPLIED]


def test_it_answers_somebody_without_a_number(user: Actor, session_id: UUID, database: Database) -> None:
    automations.save_auto_reply(user, "Fechado.", SAO_PAULO, CLOSED)
    assert ingest_text(session_id, sender="123456789012345@lid") == [RuleOutcome.REPLIED]
    assert database.execute("select phone, state from messages where direction = 'out'") == [
        ("123456789012345@lid", "queued")
    ]


def test_silence_is_of_everybody_who_shares_the_number(
    user: Actor, session_id: UUID, database: Database, new_actor: Callable[..., Actor]
) -> None:
    other, elsewhere = new_actor(), new_actor()
    connected(database, other)
    connected(database, elsewhere, phone="5511900000000")
    ingest_text(session_id, "SAIR")
    silenced = [row for (row,) in database.execute("select user_id from opt_outs order by user_id")]
    assert silenced == sorted(UUID(str(actor.user_id)) for actor in (user, other))
    ingest_text(session_id, "VOLTAR", at=NIGHT + timedelta(minutes=1))
    assert database.one("select count(*) from opt_outs where ended_at is null") == 0


@pytest.mark.parametrize("kind", ["call", "ciphertext"])
def test_it_answers_no_group_and_no_call(user: Actor, session_id: UUID, kind: str) -> None:
    automations.save_auto_reply(user, "Fechado.", SAO_PAULO, CLOSED)
    assert ingest_text(session_id, chat="1203630@g.us") == []
    assert ingest_text(session_id, kind=kind) == []


def test_it_answers_nobody_who_asked_for_silence_or_is_blocked(
    user: Actor, session_id: UUID, database: Database
) -> None:
    automations.save_auto_reply(user, "Fechado.", SAO_PAULO, CLOSED)
    assert ingest_text(session_id, "SAIR") == [RuleOutcome.OPTED_OUT], (
        "the word counts from the message that holds it on"
    )
    with transaction(SYSTEM) as tx:
        assert opt_outs.find_opted_out(tx, user.user_id, ["5511987654321"])  # type: ignore[arg-type]
    assert ingest_text(session_id, "oi de novo") == [RuleOutcome.OPTED_OUT]
    ingest_text(session_id, sender="5511911112222@c.us", at=NIGHT - timedelta(days=1))
    database.execute("update contacts set blocked_at = now() where phone = '5511911112222'")
    assert ingest_text(session_id, sender="5511911112222@c.us") == []


def test_it_answers_no_machine(user: Actor, session_id: UUID, database: Database) -> None:
    """What comes within seconds of one of ours was typed by nobody."""
    automations.save_auto_reply(user, "Fechado.", SAO_PAULO, CLOSED)
    ingest_text(session_id, at=NIGHT - timedelta(days=1))
    database.execute("update messages set state = 'sent', occurred_at = %s where direction = 'out'", NIGHT)
    assert ingest_text(session_id, "Olá! Em breve responderemos.", at=NIGHT + timedelta(seconds=2)) == [
        RuleOutcome.AUTOMATIC
    ]
    assert ingest_text(session_id, "oi, tudo bem?", at=NIGHT + timedelta(minutes=2)) == [RuleOutcome.REPLIED]


def test_it_answers_no_more_than_so_many_a_minute(user: Actor, session_id: UUID) -> None:
    automations.save_auto_reply(user, "Fechado.", SAO_PAULO, CLOSED)
    done = [
        ingest_text(session_id, sender=f"55119876{number:05}@c.us")
        for number in range(automation_engine.REPLIES_A_MINUTE + 2)
    ]
    assert done == [[RuleOutcome.REPLIED]] * automation_engine.REPLIES_A_MINUTE + [[RuleOutcome.TOO_MANY]] * 2


def test_it_answers_nothing_that_was_read_back_hours_later(user: Actor, session_id: UUID) -> None:
    automations.save_auto_reply(user, "Fechado.", SAO_PAULO, CLOSED)
    automations.add_label(user, ["preço"], "Interessado")
    assert ingest_text(session_id, "qual o preço?", now=NIGHT + timedelta(hours=3)) == [RuleOutcome.LABELLED]


def test_it_puts_labels_on_by_whole_words_without_case_and_accents(
    user: Actor, session_id: UUID, database: Database
) -> None:
    automations.add_label(user, ["orçamento", "quanto custa"], "Interessado")
    assert ingest_text(session_id, "orçamentos") == []
    assert ingest_text(session_id, "Bom dia! QUANTO  CUSTA?") == [RuleOutcome.LABELLED]
    assert ingest_text(session_id, "ORCAMENTO") == [], "it is on already"
    assert ingest_text(session_id, "um orçamento", chat="1203630@g.us") == [RuleOutcome.LABELLED]
    assert database.execute("select labels from contacts order by is_group") == [(["Interessado"],)] * 2


def test_it_does_nothing_while_it_is_off_and_nothing_once_it_is_gone(user: Actor, session_id: UUID) -> None:
    automations.save_auto_reply(user, "Fechado.", SAO_PAULO, CLOSED)
    automations.add_label(user, ["oi"], "Oi")
    reply, label = automations.list_rules(user)
    automations.set_active(user, reply.id, on=False)
    assert ingest_text(session_id) == [RuleOutcome.LABELLED]
    automations.delete_rule(user, label.id)
    assert ingest_text(session_id, sender="5511911112222@c.us") == []
    automations.save_auto_reply(user, "Outro texto.", SAO_PAULO, OFFICE_HOURS)
    assert [(one.id, one.reply, one.active) for one in automations.list_rules(user)] == [
        (reply.id, "Outro texto.", True)
    ]


def test_it_shows_staff_what_rules_did_without_the_texts(
    user: Actor, staff: Actor, session_id: UUID, new_actor: Callable[..., Actor]
) -> None:
    automations.save_auto_reply(user, "Fechado.", SAO_PAULO, CLOSED)
    ingest_text(session_id)
    assert [(use.what, use.email) for use in automations.list_all_uses(staff)] == [(RuleOutcome.REPLIED, user.email)]
    assert automations.list_rules(staff) == []
    with transaction(staff) as tx:
        assert tx.exec_driver_sql("select count(*) from automations").scalar_one() == 0
    assert automations.list_uses(new_actor()) == []
    with pytest.raises(Forbidden):
        automations.list_all_uses(user)
    with pytest.raises(NotFound):
        automations.delete_rule(new_actor(), automations.list_rules(user)[0].id)


def test_it_refuses_what_is_incomplete(user: Actor) -> None:
    with pytest.raises(WrongHours):
        automations.save_auto_reply(user, "x", SAO_PAULO, ((time(18), time(8)),) + (None,) * 6)
    for reply, zone, hours in [("", SAO_PAULO, CLOSED), ("x", "Marte/Olympus", CLOSED), ("x", SAO_PAULO, (None,)),
                               ("x" * 1001, SAO_PAULO, CLOSED)]:  # fmt: skip
        with pytest.raises(RuleIncomplete):
            automations.save_auto_reply(user, reply, zone, hours)
    for words, label in [([], "a"), (["!?"], "a"), (["a"], " "), (["a" * 41], "a"), (["a"], "a" * 41)]:
        with pytest.raises(RuleIncomplete):
            automations.add_label(user, words, label)
    for number in range(automations.RULES_PER_USER):
        automations.add_label(user, [str(number)], "a")
    with pytest.raises(TooManyRules):
        automations.add_label(user, ["x"], "a")


PAUSES = st.lists(st.floats(min_value=0.1, max_value=60 * 60 * 24), min_size=5, max_size=25)


@examples(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
@given(pauses=PAUSES, started_by=st.sampled_from([0, 1]))
def test_two_machines_never_talk_to_each_other_without_end(
    pauses: list[float], started_by: int, new_actor: Callable[..., Actor], database: Database
) -> None:
    """Two sessions that always answer, each hearing what the other says, whatever the delays: one answer a day each."""
    people = [new_actor(), new_actor()]
    phones = [f"55119{uuid4().int % 10**8:08}" for _ in people]
    ids = [connected(database, person) for person in people]
    for person in people:
        automations.save_auto_reply(person, "Fechado.", SAO_PAULO, CLOSED)
    hearing, moment = started_by, NIGHT
    said = [0, 0]
    for pause in pauses:
        moment += timedelta(seconds=pause)
        other = f"{phones[1 - hearing]}@c.us"
        if RuleOutcome.REPLIED not in ingest_text(ids[hearing], "Fechado.", at=moment, sender=other):
            continue  # silence: a person writes again
        said[hearing] += 1
        database.execute(
            "update messages set state = 'sent', occurred_at = %s where session_id = %s and state = 'queued'",
            moment, ids[hearing],
        )  # fmt: skip
        hearing = 1 - hearing
    days = (moment - NIGHT).days + 2
    assert all(count <= days for count in said)
