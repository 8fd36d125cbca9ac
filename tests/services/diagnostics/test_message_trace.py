"""A message's story: every step in its order with its time, and the right conclusion for whoever asks."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.db.actor import Actor
from services.diagnostics import message_conclusion, message_trace
from services.diagnostics.check_report import Result, Step
from services.diagnostics.message_trace import MessageTrace
from services.errors import NotFound
from services.inbound import event_processing
from services.messaging import attempt, delivery, outbox, reconciliation, state
from services.messaging.claims import Outcome
from services.messaging.pace import Pace
from services.messaging.state import State, WaitReason
from services.platform import heartbeats
from services.wppconnect import event_keys
from tests.support.databases import Database
from tests.support.sandbox_control import SandboxControl
from tests.support.sessions import connected

PHONE = "(11) 91234-5678"
NO_PACE = Pace(0)
# What to do about a failure; about any other: ask the diagnosis.
STEPS = {"disconnected": Step.PAIR, "not_on_whatsapp": Step.SEND, "refused": Step.SEND, "file_gone": Step.SEND}


@pytest.fixture
def sender(sender: Actor) -> Actor:
    """The same, beside a worker that lives."""
    heartbeats.beat("worker")
    return sender


def queue(actor: Actor) -> UUID:
    return outbox.queue(actor, PHONE, "um segredo entre nós", uuid4().hex).id


def deliver() -> None:
    for one in delivery.claim_lanes(10)[0]:
        delivery.finish(one, attempt.deliver(one), NO_PACE)


def arrive(database: Database, actor: Actor, payload: dict[str, Any]) -> None:
    """An event as the receiver stores it, handled as the worker does."""
    name = f"user_{actor.user_id}"
    key = event_keys.get_event_key(payload)
    database.execute(
        "insert into events (session, kind, dedupe_key, request_id, body) values (%s, %s, %s, gen_random_uuid(), %s)",
        name,
        key.kind,
        UUID(bytes=event_keys.get_dedupe_key(name, key) or b""),
        json.dumps(payload),
    )
    event_processing.process()


def ack(database: Database, actor: Actor, wpp_id: str, number: int) -> None:
    arrive(database, actor, {"event": "onack", "id": {"_serialized": wpp_id}, "ack": number})


def wpp_id(database: Database, message: UUID) -> str:
    return str(database.one("select wpp_id from messages where id = %s", message))


def told(found: MessageTrace) -> list[str]:
    return [one.what.format(**one.params) for one in found.moments]


def test_it_tells_every_step_of_a_message_that_was_read_in_its_order(sender: Actor, database: Database) -> None:
    message = queue(sender)
    deliver()
    for number in (1, 2, 3):
        ack(database, sender, wpp_id(database, message), number)
    found = message_trace.get_trace(sender, message)
    assert told(found) == [
        "Entrou na fila.",
        "Um worker a pegou (tentativa 1).",
        "Enviada ao servidor.",
        "O servidor aceitou e deu uma identificação.",
        "O WhatsApp recebeu a mensagem (confirmação 1).",
        "Chegou ao celular da pessoa (confirmação 2).",
        "Foi lida (confirmação 3).",
    ]
    times = [one.at for one in found.moments]
    assert None not in times
    assert times == sorted(times, key=lambda one: one or datetime.min)
    assert (found.state, found.conclusion.result, found.conclusion.what) == (
        State.READ,
        Result.OK,
        "Chegou e foi lida.",
    )


def test_it_tells_that_an_ack_came_before_the_reply_and_was_kept_until_it(
    sender: Actor, control: SandboxControl, database: Database
) -> None:
    message = queue(sender)
    claimed, _ = delivery.claim_lanes(1)
    outcome = attempt.deliver(claimed[0])
    assert outcome is not None
    assert outcome.wpp_id is not None
    ack(database, sender, outcome.wpp_id, 1)
    delivery.finish(claimed[0], outcome, NO_PACE)
    story = told(message_trace.get_trace(sender, message))
    first = story.index("O WhatsApp recebeu a mensagem (confirmação 1).")
    assert story[first + 1] == "Essa confirmação chegou antes da resposta do servidor e ficou guardada até ela."
    assert first < story.index("O servidor aceitou e deu uma identificação.")


def test_it_joins_an_ack_under_a_lid_to_its_message(sender: Actor, database: Database) -> None:
    message = queue(sender)
    deliver()
    with_lid = wpp_id(database, message).split("_")
    with_lid[1] = "212345678901234@lid"
    ack(database, sender, "_".join(with_lid), 2)
    found = message_trace.get_trace(sender, message)
    assert "Chegou ao celular da pessoa (confirmação 2)." in told(found)
    assert found.state is State.DELIVERED
    assert database.one("select count(*) from pending_acks") == 0


def test_it_tells_of_doubt_and_of_its_end(sender: Actor, control: SandboxControl, database: Database) -> None:
    name = f"user_{sender.user_id}"
    control.fault("error_but_delivered", name, times=1)
    message = queue(sender)
    deliver()
    found = message_trace.get_trace(sender, message)
    assert "Ficou incerta: o servidor deu erro, não respondeu, ou o envio foi interrompido." in told(found)
    assert found.moments[-1].ahead
    assert (found.conclusion.result, found.conclusion.step) == (Result.WARNING, None)
    database.execute("update messages set reconcile_at = now()")
    reconciliation.reconcile()
    found = message_trace.get_trace(sender, message)
    assert "Encontrada na conversa: ela saiu." in told(found)
    assert "O servidor aceitou e deu uma identificação." not in told(found)
    assert found.state is not State.UNCERTAIN


def test_it_hands_what_stays_in_doubt_to_a_person(sender: Actor, control: SandboxControl, database: Database) -> None:
    control.fault("error_but_delivered", f"user_{sender.user_id}", delivered=False)
    message = queue(sender)
    deliver()
    for _ in reconciliation.RECONCILE_AFTER:
        database.execute("update messages set reconcile_at = now() where reconcile_at is not null")
        reconciliation.reconcile()
    found = message_trace.get_trace(sender, message)
    assert f"A conversa foi lida {len(reconciliation.RECONCILE_AFTER)} vezes e a mensagem não estava lá." in told(found)
    assert "Decida em “Incertos”" in found.conclusion.todo
    assert found.conclusion.step is Step.SEND


@pytest.mark.parametrize(
    ("change", "what", "result", "step"),
    [
        ("state = 'queued'", "Está na fila e é a próxima a sair.", Result.OK, None),
        (
            "state = 'queued', asked_at = now(), waiting_since = now() - interval '25 hours'",
            "Esperou demais e não sai mais sozinha.",
            Result.WARNING,
            Step.SEND,
        ),
        (
            "state = 'queued', waiting_reason = 'numbers'",
            "o número ainda não pôde ser conferido",
            Result.WARNING,
            Step.ASK,
        ),
        ("state = 'queued', run_at = now() + interval '1 hour'", "Ainda não é hora", Result.OK, None),
        ("state = 'sending', sending_at = now()", "Está sendo enviada agora.", Result.OK, None),
        (
            "state = 'sending', sending_at = now() - interval '1 hour'",
            "O envio foi interrompido no meio.",
            Result.WARNING,
            None,
        ),
        ("state = 'accepted', accepted_at = now()", "a confirmação do WhatsApp vem logo", Result.OK, None),
        (
            "state = 'accepted', accepted_at = now() - interval '1 hour'",
            "o WhatsApp não confirmou que a recebeu",
            Result.WARNING,
            Step.ASK,
        ),
        ("state = 'sent', sent_at = now()", "o celular da pessoa ainda não a recebeu", Result.OK, None),
        ("state = 'delivered', delivered_at = now()", "ainda não foi lida", Result.OK, None),
        ("state = 'read', read_at = now()", "Chegou e foi lida.", Result.OK, None),
        *(
            (
                f"state = 'failed', failure = '{code}', ended_at = now()",
                texts[0],
                Result.FAULT,
                STEPS.get(code, Step.ASK),
            )
            for code, texts in state.FAILURES.items()
        ),
        ("state = 'cancelled', ended_at = now()", "Foi cancelada antes de sair", Result.OK, None),
    ],
)
def test_it_concludes_rightly(
    database: Database, user: Actor, change: str, what: str, result: Result, step: Step | None
) -> None:
    connected(database, user)
    heartbeats.beat("worker")
    message = queue(user)
    database.execute(f"update messages set {change}")
    end = message_trace.get_trace(user, message).conclusion
    assert what in end.what.format(**end.params)
    assert (end.result, end.step) == (result, step)


@pytest.mark.parametrize(
    "reason", [WaitReason.SERVER, WaitReason.SESSION, WaitReason.NO_ANSWER, WaitReason.SETUP, WaitReason.FILES]
)
def test_it_says_what_a_message_waits_for_and_since_when(database: Database, user: Actor, reason: WaitReason) -> None:
    connected(database, user)
    heartbeats.beat("worker")
    message = queue(user)
    (one,) = delivery.claim_lanes(1)[0]
    delivery.finish(one, Outcome(State.QUEUED, waiting=reason), NO_PACE)
    found = message_trace.get_trace(user, message)
    assert found.conclusion.what == message_conclusion.WAIT_CONCLUSIONS[reason][0]
    assert (found.conclusion.result, found.conclusion.step) == (
        Result.WARNING,
        message_conclusion.WAIT_CONCLUSIONS[reason][2],
    )
    since = {step.what: step.at for step in found.moments}[message_trace.WAIT_STEPS[reason]]
    shown = outbox.get_message(user, message).waiting
    assert shown is not None
    assert (shown.reason, shown.since) == (reason, since)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("delete from heartbeats", "o processo que envia está parado"),
        ("update whatsapp_sessions set status = 'desconectado'", "o WhatsApp está desconectado"),
        (
            "insert into messages (session_id, user_id, direction, state, phone, run_at) select session_id, user_id,"
            " 'out', 'queued', phone, run_at - interval '1 second' from messages",
            "há 1 mensagens desta sessão na frente",
        ),
    ],
)
def test_it_says_why_a_message_waits(database: Database, user: Actor, change: str, what: str) -> None:
    connected(database, user)
    heartbeats.beat("worker")
    message = queue(user)
    database.execute(change)
    end = message_trace.get_trace(user, message).conclusion
    assert what in end.what.format(**end.params)


def test_it_shows_staff_the_steps_but_neither_text_nor_number(database: Database, user: Actor, staff: Actor) -> None:
    connected(database, user)
    found = message_trace.get_trace(staff, queue(user))
    assert found.phone == "…5678"
    assert told(found) == ["Entrou na fila."]
    assert "5511912345678" not in repr(found)
    assert "um segredo" not in repr(found)


def test_it_knows_of_no_message_of_somebody_elses(database: Database, new_actor: Callable[..., Actor]) -> None:
    owner, other = new_actor(), new_actor()
    connected(database, owner)
    message = queue(owner)
    for actor, wanted in ((other, message), (owner, uuid4())):
        with pytest.raises(NotFound):
            message_trace.get_trace(actor, wanted)
