"""What people write asks for silence or takes it back, whatever it stands in and whatever address it comes by."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.contacts import opt_outs
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.inbound import annotations, effects, ingest
from services.outreach import campaign_progress, campaigns, template_content, templates
from services.wppconnect.events import Annotation, InboundMessage
from tests.support.campaigns import make_recipients
from tests.support.databases import Database
from tests.support.sessions import connected

PHONE, LID = "5511980000001", "123456789012345@lid"
ANA = f"{PHONE}@c.us"
NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
NUMBERS = itertools.count(1)
REMINDER = "Consulta amanhã 10h. Responda CONFIRMAR ou CANCELAR"


@pytest.fixture
def session(database: Database, user: Actor) -> UUID:
    return connected(database, user)


def said(text: str, at: datetime = NOW, chat: str = ANA, **more: Any) -> InboundMessage:
    made = {
        "id": f"false_{chat}_3EB0{next(NUMBERS):06}",
        "from_": chat,
        "to": "5511999990000@c.us",
        "chat_id": chat,
        "type": "chat",
        "body": text,
        "timestamp": int(at.timestamp()),
    }
    return InboundMessage(**{**made, **more})


def take(session: UUID, *messages: InboundMessage) -> None:
    with transaction(SYSTEM) as tx:
        for message in messages:
            taken = ingest.ingest_message(tx, session, message, datetime.now(UTC))
            if taken is not None:
                effects.apply_effects(tx, taken, [])


def edit(session: UUID, message: InboundMessage, text: str, at: datetime) -> None:
    with transaction(SYSTEM) as tx:
        found = Annotation(message.id, "edit", "", int(at.timestamp() * 1000), {"body": text})
        annotations.store_annotation(tx, session, found, at)
        taken = ingest.apply_edit(tx, session, message.id)
        assert taken is not None
        effects.apply_effects(tx, taken, [])


def is_silent(user: Actor, *addresses: str) -> bool:
    return opt_outs.filter_opted_out(user, addresses or (PHONE,)) != set()


def leave(database: Database, session: UUID, body: str, at: datetime, **of: UUID) -> None:
    """What left to her from here: a campaign's, a schedule's, or what a person wrote."""
    database.execute(
        "insert into messages (session_id, user_id, contact_id, direction, state, phone, body, campaign_id,"
        " schedule_id, occurred_at, run_at) select %s, user_id, id, 'out', 'sent', phone, %s, %s, %s, %s, %s"
        " from contacts",
        session, body, of.get("campaign_id"), of.get("schedule_id"), at, at,
    )  # fmt: skip


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chat", [ANA, LID, "551180000001@c.us"])
@pytest.mark.parametrize(
    "form", [{}, {"type": "image", "caption": "sair!", "body": "/9j/4AAQ"}, {"type": "list_response"}]
)
def test_a_word_counts_in_whatever_it_stands(session: UUID, user: Actor, chat: str, form: dict[str, Any]) -> None:
    take(session, said("SAIR", chat=chat, **{**form, "body": form.get("body", "SAIR")}))
    assert is_silent(user, PHONE, LID)


def test_a_late_word_stays_out_of_effect(session: UUID, user: Actor) -> None:
    take(session, said("VOLTAR", NOW + timedelta(minutes=1)), said("SAIR", NOW))
    assert not is_silent(user)
    take(session, said("SAIR", NOW + timedelta(minutes=2)), said("quero receber de novo", NOW + timedelta(minutes=1)))
    assert is_silent(user)


def test_an_edit_is_said_when_it_is_made(session: UUID, user: Actor) -> None:
    first = said("oi")
    take(session, first, said("VOLTAR", NOW + timedelta(minutes=1)))
    edit(session, first, "SAIR", NOW + timedelta(minutes=2))
    assert is_silent(user)


def test_a_number_that_comes_with_the_next_message_is_silenced_at_once(session: UUID, user: Actor) -> None:
    take(session, said("SAIR", chat=LID))
    assert not is_silent(user)
    take(session, said("oi", NOW + timedelta(minutes=1), chat=LID, phone_id=ANA))
    assert is_silent(user)


# --- words that can be about something else ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("campaign", "body", "silent"),
    [
        (True, "Novidades da semana!", True),
        (True, "Novidades! Para não receber mais, responda CANCELAR", True),
        (True, REMINDER, False),
        (False, REMINDER, False),
        (False, "Novidades da semana!", False),
    ],
)
@pytest.mark.parametrize("word", ["Cancelar", "cancele, por favor"])
def test_an_ambiguous_word_counts_as_an_answer_to_a_campaign(
    session: UUID, user: Actor, database: Database, campaign: bool, body: str, silent: bool, word: str
) -> None:
    take(session, said("oi", NOW - timedelta(hours=2)))
    leave(database, session, body, NOW - timedelta(hours=1), **{"campaign_id" if campaign else "schedule_id": uuid4()})
    take(session, said(word))
    assert is_silent(user) is silent


@pytest.mark.parametrize(
    ("last", "silent"),
    [(timedelta(minutes=-5), False), (timedelta(minutes=5), True), (None, True)],
    ids=["before it was said", "after it was said", "never"],
)
def test_what_left_last_before_the_word_decides(
    session: UUID, user: Actor, database: Database, last: timedelta | None, silent: bool
) -> None:
    take(session, said("oi", NOW - timedelta(hours=2)))
    leave(database, session, "Novidades!", NOW - timedelta(hours=1), campaign_id=uuid4())
    if last is not None:
        leave(database, session, "Posso ajudar?", NOW + last)
    take(session, said("cancelar"))
    assert is_silent(user) is silent


def test_nobody_is_silenced_by_an_ambiguous_word_out_of_the_blue(session: UUID, user: Actor) -> None:
    take(session, said("Cancelar"))
    assert not is_silent(user)


# --- what waits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chat", [ANA, LID])
def test_what_waits_to_leave_is_taken_back(session: UUID, user: Actor, database: Database, chat: str) -> None:
    template = templates.save(user, template_content.TemplateDraft("Oferta", "Oi, {{nome}}!"))
    made = campaigns.create(user, "Novidades", template, make_recipients(2))
    queue = (
        "insert into messages (session_id, user_id, direction, state, phone, body, campaign_id, schedule_id, detail,"
        " asked_at) values (%s, %s, 'out', 'queued', %s, %s, %s, %s, %s::jsonb, %s) returning id"
    )
    for seq, to in ((1, PHONE), (2, "5511980000002")):
        row = database.one(queue, session, user.user_id, to, f"campanha {seq}", made.id, None, "{}", None)
        database.execute("update campaign_recipients set state = 'released', message_id = %s where seq = %s", row, seq)
    for body, schedule, detail, asked in (
        ("campanha de novo", uuid4(), "{}", NOW),
        ("lembrete", uuid4(), "{}", None),
        ("resposta automática", None, '{"auto_reply": "x"}', None),
        ("à mão", None, "{}", None),
    ):
        database.execute(queue, session, user.user_id, PHONE, body, None, schedule, detail, asked)
    take(session, said("SAIR", chat=chat), said("ok", chat=chat, phone_id=ANA))
    left = database.execute("select body from messages where direction = 'out' and state = 'queued' order by seq")
    assert [body for (body,) in left] == ["campanha 2", "à mão"]
    taken = database.execute("select distinct state, failure from messages where direction = 'out' and failure <> ''")
    assert taken == [("cancelled", "opted_out")]
    results = campaign_progress.list_results(user, made.id, show="left_out")
    assert [(one.seq, one.reason) for one in results] == [(1, "opted_out")]
