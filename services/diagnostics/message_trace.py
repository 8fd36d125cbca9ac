"""The trace of one message: every step with its time, what it comes to, and what to do.

No text of the message is read. Its owner sees the phone it went to; staff see the last digits.
"""

import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select, text

from services.db.actor import Actor
from services.db.engine import transaction
from services.db.rows import read_object
from services.diagnostics.check_report import Result, mask_phone
from services.diagnostics.message_conclusion import Conclusion, Params, conclude
from services.diagnostics.message_facts import MessageFacts
from services.errors import N_, NotFound
from services.messaging.state import FAILURES, State, WaitReason
from services.wppconnect import event_keys

# Every ack that the server is known to post (wppconnect-server 2.10.4, `onack`).
ACKS = (-7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4)
ACK_TEXTS = {
    1: N_("O WhatsApp recebeu a mensagem (confirmação 1)."),
    2: N_("Chegou ao celular da pessoa (confirmação 2)."),
    3: N_("Foi lida (confirmação 3)."),
    4: N_("Foi ouvida ou vista (confirmação 4)."),
}

_ACK_TIMES = text("select * from app.list_message_acks(:message, :keys)")

# What a queued message waits for, as a step of its story.
WAIT_STEPS: dict[WaitReason, str] = {
    WaitReason.SERVER: N_("Espera desde então: o servidor do WhatsApp não responde."),
    WaitReason.SESSION: N_("Espera desde então: o WhatsApp está desconectado."),
    WaitReason.NO_ANSWER: N_("Espera desde então: o WhatsApp não responde."),
    WaitReason.SETUP: N_("Espera desde então: o servidor do WhatsApp não nos aceita."),
    WaitReason.FILES: N_("Espera desde então: o arquivo não pôde ser lido."),
    WaitReason.NUMBERS: N_("Espera desde então: o número ainda não pôde ser conferido."),
    WaitReason.OWNER: N_("Começou a esperar: nada podia sair."),
}


@dataclass(frozen=True)
class TraceStep:
    """One step: what happened (gettext source, filled with `params`), when, and whether it was good. `ahead`: it is
    still to come."""

    what: str
    at: datetime | None
    result: Result = Result.OK
    params: Params = field(default_factory=dict)
    ahead: bool = False


@dataclass(frozen=True)
class MessageTrace:
    """A message's story. `phone` is digits for its owner, the last four for staff."""

    id: UUID
    user_id: UUID
    state: State
    phone: str
    created_at: datetime
    moments: tuple[TraceStep, ...]
    conclusion: Conclusion


def get_trace(actor: Actor, message_id: UUID) -> MessageTrace:
    """The story of one outgoing message: the actor's own, or for staff anybody's.

    Raises: NotFound.
    """
    with transaction(actor) as tx:
        told = tx.execute(select(func.app.get_message_facts(message_id))).scalar_one()
        if told is None:
            raise NotFound(f"message {message_id}")
        facts = read_object(MessageFacts, told)
        keys = _ack_keys(facts.session_name, {*facts.wpp_names, facts.wpp_id or ""} - {""})
        times = tx.execute(_ACK_TIMES, {"message": message_id, "keys": list(keys)}).all() if keys else []
    acks = sorted((found.received_at, keys[found.key]) for found in times)
    steps = [
        *_sending_steps(facts),
        *_acknowledgement_steps(facts, acks),
        *_uncertainty_steps(facts),
        *_end_steps(facts),
    ]
    return MessageTrace(
        id=facts.id,
        user_id=facts.user_id,
        state=facts.state,
        phone=facts.phone if facts.user_id == actor.user_id else mask_phone(facts.phone),
        created_at=facts.created_at,
        moments=_sort_by_time(steps),
        conclusion=conclude(facts),
    )


def _sort_by_time(found: list[TraceStep]) -> tuple[TraceStep, ...]:
    """By time; what has none or is still to come stands last."""
    dated = [one for one in found if one.at is not None and not one.ahead]
    rest = [one for one in found if one.at is None or one.ahead]
    return (*sorted(dated, key=lambda one: one.at or datetime.min), *rest)


def _sending_steps(facts: MessageFacts) -> Iterator[TraceStep]:
    created, run_at = facts.created_at, facts.run_at
    yield TraceStep(N_("Entrou na fila."), created)
    if run_at - created > timedelta(seconds=1):
        yield TraceStep(N_("Hora marcada para sair."), run_at, ahead=run_at > facts.now)
    if facts.state == State.QUEUED and (wait := facts.wait) is not None:
        yield TraceStep(WAIT_STEPS[wait.reason], wait.since, Result.WARNING)
    elif facts.waiting_since:
        yield TraceStep(N_("Começou a esperar: nada podia sair."), facts.waiting_since, Result.WARNING)
    if facts.asked_at:
        yield TraceStep(N_("Esperou demais: só sai se o dono disser."), facts.asked_at, Result.WARNING)
    if facts.claimed_at:
        yield TraceStep(N_("Um worker a pegou (tentativa {n})."), facts.claimed_at, params={"n": facts.attempts})
    if facts.sending_at:
        sent_to = (facts.address or "").partition("@")[0]
        other = bool(sent_to) and sent_to != facts.phone
        what = N_("Enviada ao servidor, para a forma do número que o WhatsApp usa.")
        yield TraceStep(what if other else N_("Enviada ao servidor."), facts.sending_at)
    if facts.accepted_at and facts.accepted_at != facts.reconciled_at:
        yield TraceStep(N_("O servidor aceitou e deu uma identificação."), facts.accepted_at)


def _acknowledgement_steps(facts: MessageFacts, acks: list[tuple[datetime, int]]) -> Iterator[TraceStep]:
    accepted = facts.accepted_at or facts.reconciled_at
    for received_at, ack in acks:
        early = accepted is not None and received_at < accepted
        yield from _steps_of_ack(received_at, ack, early)
    seen = {ack for _, ack in acks}
    # The events are deleted after a while, and a chat that was read back brought none.
    for ack, at in ((1, facts.sent_at), (2, facts.delivered_at), (3, facts.read_at)):
        if at is not None and ack not in seen and not (ack == 3 and 4 in seen):
            yield TraceStep(ACK_TEXTS[ack], at)
    for pending in facts.pending:
        what = N_("Chegou a confirmação {ack}, mas com outro endereço (@lid): ficou guardada.")
        what = what if pending.lid else N_("Chegou a confirmação {ack} e ficou guardada.")
        yield TraceStep(what, pending.at, Result.WARNING, {"ack": pending.ack})


def _steps_of_ack(at: datetime, ack: int, early: bool) -> Iterator[TraceStep]:
    if ack < 0:
        yield TraceStep(N_("O WhatsApp recusou a mensagem (confirmação {ack})."), at, Result.FAULT, {"ack": ack})
    elif ack == 0:
        yield TraceStep(N_("O WhatsApp do servidor a pôs na fila dele (confirmação 0)."), at)
    else:
        yield TraceStep(ACK_TEXTS[ack], at)
    if early:
        yield TraceStep(N_("Essa confirmação chegou antes da resposta do servidor e ficou guardada até ela."), at)


def _uncertainty_steps(facts: MessageFacts) -> Iterator[TraceStep]:
    if facts.uncertain_at:
        what = N_("Ficou incerta: o servidor deu erro, não respondeu, ou o envio foi interrompido.")
        yield TraceStep(what, facts.uncertain_at, Result.WARNING)
    if facts.reconciled_at:
        yield TraceStep(N_("Encontrada na conversa: ela saiu."), facts.reconciled_at)
    elif facts.reconciliations:
        what = N_("A conversa foi lida {n} vezes e a mensagem não estava lá.")
        yield TraceStep(what, facts.updated_at, Result.UNKNOWN, {"n": facts.reconciliations})
    if facts.reconcile_at:
        at = facts.reconcile_at
        yield TraceStep(N_("A conversa será lida de novo."), at, Result.UNKNOWN, ahead=True)


def _end_steps(facts: MessageFacts) -> Iterator[TraceStep]:
    if facts.ended_at:
        what = FAILURES[facts.failure][0] if facts.failure in FAILURES else N_("Falhou.")
        yield TraceStep(what, facts.ended_at, Result.FAULT)


def _ack_keys(session: str, names: Collection[str]) -> dict[UUID, int]:
    """The keys under which the receiver keeps the acks of a message, whatever it is called."""
    found = {}
    for name, ack in itertools.product(names, ACKS):
        key = event_keys.get_dedupe_key(session, event_keys.EventKey("onack", session, name, ack))
        assert key is not None
        found[UUID(bytes=key)] = ack
    return found
