"""The trace of one message: every step with its time, what it comes to, and what to do.

No text of the message is read. Its owner sees the phone it went to; staff see the last digits.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text

from services.db.actor import Actor
from services.db.engine import transaction
from services.diagnostics.check_report import Result, mask_phone
from services.diagnostics.facts import parse_time
from services.diagnostics.message_conclusion import Conclusion, Params, TracedMessage, conclude, get_wait
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
        row = tx.execute(select(func.app.get_message_facts(message_id))).scalar_one()
        if row is None:
            raise NotFound(f"message {message_id}")
        keys = _ack_keys(row["session_name"], row["wpp_id"])
        times = tx.execute(_ACK_TIMES, {"message": message_id, "keys": list(keys)}).all() if keys else []
    acks = sorted((found.received_at, keys[found.key]) for found in times)
    own = row["user_id"] == str(actor.user_id)
    return MessageTrace(
        id=message_id,
        user_id=UUID(row["user_id"]),
        state=State(row["state"]),
        phone=row["phone"] if own else mask_phone(row["phone"]),
        created_at=parse_time(row["created_at"]),
        moments=_sort_by_time(
            [*_sending_steps(row), *_acknowledgement_steps(row, acks), *_uncertainty_steps(row), *_end_steps(row)]
        ),
        conclusion=conclude(TracedMessage(row)),
    )


def _sort_by_time(found: list[TraceStep]) -> tuple[TraceStep, ...]:
    """By time; what has none or is still to come stands last."""
    dated = [one for one in found if one.at is not None and not one.ahead]
    rest = [one for one in found if one.at is None or one.ahead]
    return (*sorted(dated, key=lambda one: one.at or datetime.min), *rest)


def _sending_steps(row: Mapping[str, Any]) -> Iterator[TraceStep]:
    created, run_at = parse_time(row["created_at"]), parse_time(row["run_at"])
    yield TraceStep(N_("Entrou na fila."), created)
    if run_at - created > timedelta(seconds=1):
        yield TraceStep(N_("Hora marcada para sair."), run_at, ahead=run_at > parse_time(row["now"]))
    if row["state"] == State.QUEUED and (wait := get_wait(row)) is not None:
        yield TraceStep(WAIT_STEPS[wait.reason], wait.since, Result.WARNING)
    elif row["waiting_since"]:
        yield TraceStep(N_("Começou a esperar: nada podia sair."), parse_time(row["waiting_since"]), Result.WARNING)
    if row["asked_at"]:
        yield TraceStep(N_("Esperou demais: só sai se o dono disser."), parse_time(row["asked_at"]), Result.WARNING)
    if row["claimed_at"]:
        yield TraceStep(
            N_("Um worker a pegou (tentativa {n})."), parse_time(row["claimed_at"]), params={"n": row["attempts"]}
        )
    if row["sending_at"]:
        sent_to = (row["address"] or "").partition("@")[0]
        other = bool(sent_to) and sent_to != row["phone"]
        what = N_("Enviada ao servidor, para a forma do número que o WhatsApp usa.")
        yield TraceStep(what if other else N_("Enviada ao servidor."), parse_time(row["sending_at"]))
    if row["accepted_at"] and row["accepted_at"] != row["reconciled_at"]:
        yield TraceStep(N_("O servidor aceitou e deu uma identificação."), parse_time(row["accepted_at"]))


def _acknowledgement_steps(row: Mapping[str, Any], acks: list[tuple[datetime, int]]) -> Iterator[TraceStep]:
    accepted = parse_time(row["accepted_at"]) or parse_time(row["reconciled_at"])
    for at, ack in acks:
        early = accepted is not None and at < accepted
        yield from _steps_of_ack(at, ack, early)
    seen = {ack for _, ack in acks}
    # The events are deleted after a while, and a chat that was read back brought none.
    for ack, column in ((1, "sent_at"), (2, "delivered_at"), (3, "read_at")):
        if row[column] and ack not in seen and not (ack == 3 and 4 in seen):
            yield TraceStep(ACK_TEXTS[ack], parse_time(row[column]))
    for parked in row["parked"]:
        what = N_("Chegou a confirmação {ack}, mas com outro endereço (@lid): ficou guardada.")
        what = what if parked["lid"] else N_("Chegou a confirmação {ack} e ficou guardada.")
        yield TraceStep(what, parse_time(parked["at"]), Result.WARNING, {"ack": parked["ack"]})


def _steps_of_ack(at: datetime, ack: int, early: bool) -> Iterator[TraceStep]:
    if ack < 0:
        yield TraceStep(N_("O WhatsApp recusou a mensagem (confirmação {ack})."), at, Result.FAULT, {"ack": ack})
    elif ack == 0:
        yield TraceStep(N_("O WhatsApp do servidor a pôs na fila dele (confirmação 0)."), at)
    else:
        yield TraceStep(ACK_TEXTS[ack], at)
    if early:
        yield TraceStep(N_("Essa confirmação chegou antes da resposta do servidor e ficou guardada até ela."), at)


def _uncertainty_steps(row: Mapping[str, Any]) -> Iterator[TraceStep]:
    if row["uncertain_at"]:
        what = N_("Ficou incerta: o servidor deu erro, não respondeu, ou o envio foi interrompido.")
        yield TraceStep(what, parse_time(row["uncertain_at"]), Result.WARNING)
    if row["reconciled_at"]:
        yield TraceStep(N_("Encontrada na conversa: ela saiu."), parse_time(row["reconciled_at"]))
    elif row["reconciliations"]:
        what = N_("A conversa foi lida {n} vezes e a mensagem não estava lá.")
        yield TraceStep(what, parse_time(row["updated_at"]), Result.UNKNOWN, {"n": row["reconciliations"]})
    if row["reconcile_at"]:
        at = parse_time(row["reconcile_at"])
        yield TraceStep(N_("A conversa será lida de novo."), at, Result.UNKNOWN, ahead=True)


def _end_steps(row: Mapping[str, Any]) -> Iterator[TraceStep]:
    if row["ended_at"]:
        what = FAILURES[row["failure"]][0] if row["failure"] in FAILURES else N_("Falhou.")
        yield TraceStep(what, parse_time(row["ended_at"]), Result.FAULT)


def _ack_keys(session: str, wpp_id: str | None) -> dict[UUID, int]:
    """The keys under which the receiver keeps the acks of a message."""
    if wpp_id is None:
        return {}
    found = {}
    for ack in ACKS:
        key = event_keys.get_dedupe_key(session, event_keys.EventKey("onack", session, wpp_id, ack))
        assert key is not None
        found[UUID(bytes=key)] = ack
    return found
