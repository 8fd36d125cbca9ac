"""One message's story: every step with its time, what it comes to, and what to do. No text of it is read here.

Its owner sees to whom it went; staff see the last digits.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text

from services import health, messages, sessions
from services.db.actor import Actor
from services.db.engine import transaction
from services.diagnostics import Result, Step, masked
from services.errors import N_, NotFound
from services.evidence import moment
from services.messages import Reason, State, Wait
from services.wppconnect import events as webhook

# A claim, a call and its commit take no longer than the lane's lease; what is still `sending` then was cut off.
CUT_OFF_AFTER = timedelta(seconds=90)
# WhatsApp's first acknowledgement comes within seconds.
ACK_EXPECTED = timedelta(minutes=1)
# Every ack that the server is known to post (wppconnect-server 2.10.4, `onack`).
ACKS = (-7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4)
ACK_WORDS = {
    1: N_("O WhatsApp recebeu a mensagem (confirmação 1)."),
    2: N_("Chegou ao celular da pessoa (confirmação 2)."),
    3: N_("Foi lida (confirmação 3)."),
    4: N_("Foi ouvida ou vista (confirmação 4)."),
}

_ACK_TIMES = text("select * from app.message_acks(:message, :keys)")

# What a queued message waits for, as a step of its story.
WAITED: dict[Reason, str] = {
    Reason.SERVER: N_("Espera desde então: o servidor do WhatsApp não responde."),
    Reason.SESSION: N_("Espera desde então: o WhatsApp está desconectado."),
    Reason.NO_ANSWER: N_("Espera desde então: o WhatsApp não responde."),
    Reason.SETUP: N_("Espera desde então: o servidor do WhatsApp não nos aceita."),
    Reason.FILES: N_("Espera desde então: o arquivo não pôde ser lido."),
    Reason.NUMBERS: N_("Espera desde então: o número ainda não pôde ser conferido."),
    Reason.OWNER: N_("Começou a esperar: nada podia sair."),
}
# What it comes to, and what to do.
HELD_UP: dict[Reason, tuple[str, str, Step]] = {
    Reason.SERVER: (
        N_("Está na fila e nada saiu: o servidor do WhatsApp não responde."),
        N_("Ela sai sozinha quando ele voltar. Veja o Diagnóstico da sessão."),
        Step.ASK,
    ),
    Reason.SESSION: (
        N_("Está na fila e nada saiu: o servidor diz que a sessão caiu."),
        N_("Ela sai sozinha quando a sessão voltar. Veja o Diagnóstico da sessão."),
        Step.ASK,
    ),
    Reason.NO_ANSWER: (
        N_("Está na fila e nada saiu: o WhatsApp não responde por esta sessão."),
        N_("Tentamos de novo sozinhos. Veja o Diagnóstico da sessão."),
        Step.ASK,
    ),
    Reason.SETUP: (
        N_("Está na fila e nada saiu: o servidor do WhatsApp não aceita nossa credencial."),
        N_("Fale com o suporte. Ela sai sozinha quando o acesso voltar."),
        Step.SUPPORT,
    ),
    Reason.FILES: (
        N_("Está na fila e nada saiu: o arquivo dela não pôde ser lido agora."),
        N_("Tentamos de novo sozinhos; se demorar, fale com o suporte."),
        Step.SUPPORT,
    ),
    Reason.NUMBERS: (
        N_("Está na fila e nada saiu: o número ainda não pôde ser conferido no WhatsApp."),
        N_("As consultas por hora são poucas. Tentamos de novo sozinhos em minutos."),
        Step.ASK,
    ),
}

Params = Mapping[str, str | int]


@dataclass(frozen=True)
class Moment:
    """One step: what happened (gettext source, filled with `params`), when, and whether it was good. `ahead`: it is
    still to come."""

    what: str
    at: datetime | None
    result: Result = Result.OK
    params: Params = field(default_factory=dict)
    ahead: bool = False


@dataclass(frozen=True)
class Conclusion:
    """Why it has not arrived, or that it has, and what to do: two gettext sources filled with `params`."""

    result: Result
    what: str
    todo: str
    params: Params = field(default_factory=dict)
    step: Step | None = None


@dataclass(frozen=True)
class Dossier:
    """A message's story. `phone` is digits for its owner, the last four for staff."""

    id: UUID
    user_id: UUID
    state: State
    phone: str
    created_at: datetime
    moments: tuple[Moment, ...]
    conclusion: Conclusion


def of(actor: Actor, message_id: UUID) -> Dossier:
    """The story of one outgoing message: the actor's own, or for staff anybody's. Raises NotFound."""
    with transaction(actor) as tx:
        row = tx.execute(select(func.app.message_evidence(message_id))).scalar_one()
        if row is None:
            raise NotFound(f"message {message_id}")
        keys = _ack_keys(row["session_name"], row["wpp_id"])
        times = tx.execute(_ACK_TIMES, {"message": message_id, "keys": list(keys)}).all() if keys else []
    acks = sorted((found.received_at, keys[found.key]) for found in times)
    own = row["user_id"] == str(actor.user_id)
    return Dossier(
        id=message_id,
        user_id=UUID(row["user_id"]),
        state=State(row["state"]),
        phone=row["phone"] if own else masked(row["phone"]),
        created_at=moment(row["created_at"]),
        moments=_in_order([*_way_out(row), *_acknowledged(row, acks), *_in_doubt(row), *_ended(row)]),
        conclusion=_conclusion(_Row(row)),
    )


# --- the steps --------------------------------------------------------------------------------------------------------


def _in_order(found: list[Moment]) -> tuple[Moment, ...]:
    """By time; what has none or is still to come stands last."""
    dated = [one for one in found if one.at is not None and not one.ahead]
    rest = [one for one in found if one.at is None or one.ahead]
    return (*sorted(dated, key=lambda one: one.at or datetime.min), *rest)


def _way_out(row: Mapping[str, Any]) -> Iterator[Moment]:
    created, run_at = moment(row["created_at"]), moment(row["run_at"])
    yield Moment(N_("Entrou na fila."), created)
    if run_at - created > timedelta(seconds=1):
        yield Moment(N_("Hora marcada para sair."), run_at, ahead=run_at > moment(row["now"]))
    if row["state"] == State.QUEUED and (wait := _wait(row)) is not None:
        yield Moment(WAITED[wait.reason], wait.since, Result.WARNING)
    elif row["waiting_since"]:
        yield Moment(N_("Começou a esperar: nada podia sair."), moment(row["waiting_since"]), Result.WARNING)
    if row["asked_at"]:
        yield Moment(N_("Esperou demais: só sai se o dono disser."), moment(row["asked_at"]), Result.WARNING)
    if row["claimed_at"]:
        yield Moment(N_("Um worker a pegou (tentativa {n})."), moment(row["claimed_at"]), params={"n": row["attempts"]})
    if row["sending_at"]:
        sent_to = (row["address"] or "").partition("@")[0]
        other = bool(sent_to) and sent_to != row["phone"]
        what = N_("Enviada ao servidor, para a forma do número que o WhatsApp usa.")
        yield Moment(what if other else N_("Enviada ao servidor."), moment(row["sending_at"]))
    if row["accepted_at"] and row["accepted_at"] != row["reconciled_at"]:
        yield Moment(N_("O servidor aceitou e deu uma identificação."), moment(row["accepted_at"]))


def _wait(row: Mapping[str, Any]) -> Wait | None:
    """What a queued message waits for now, as its owner's list says it."""
    due = moment(row["run_at"])
    since = moment(row["waiting_since"])
    if row["asked_at"]:
        return Wait(Reason.OWNER, since or moment(row["asked_at"]))
    if row["lane_waiting_reason"] and due <= moment(row["now"]):
        held = max(due, moment(row["lane_waiting_since"]))
        return Wait(Reason(row["lane_waiting_reason"]), min(held, since) if since else held)
    return Wait(Reason(row["waiting_reason"]), since or due) if row["waiting_reason"] else None


def _acknowledged(row: Mapping[str, Any], acks: list[tuple[datetime, int]]) -> Iterator[Moment]:
    accepted = moment(row["accepted_at"]) or moment(row["reconciled_at"])
    for at, ack in acks:
        early = accepted is not None and at < accepted
        yield from _ack(at, ack, early)
    seen = {ack for _, ack in acks}
    # The events are deleted after a while, and a chat that was read back brought none.
    for ack, column in ((1, "sent_at"), (2, "delivered_at"), (3, "read_at")):
        if row[column] and ack not in seen and not (ack == 3 and 4 in seen):
            yield Moment(ACK_WORDS[ack], moment(row[column]))
    for parked in row["parked"]:
        what = N_("Chegou a confirmação {ack}, mas com outro endereço (@lid): ficou guardada.")
        what = what if parked["lid"] else N_("Chegou a confirmação {ack} e ficou guardada.")
        yield Moment(what, moment(parked["at"]), Result.WARNING, {"ack": parked["ack"]})


def _ack(at: datetime, ack: int, early: bool) -> Iterator[Moment]:
    if ack < 0:
        yield Moment(N_("O WhatsApp recusou a mensagem (confirmação {ack})."), at, Result.FAULT, {"ack": ack})
    elif ack == 0:
        yield Moment(N_("O WhatsApp do servidor a pôs na fila dele (confirmação 0)."), at)
    else:
        yield Moment(ACK_WORDS[ack], at)
    if early:
        yield Moment(N_("Essa confirmação chegou antes da resposta do servidor e ficou guardada até ela."), at)


def _in_doubt(row: Mapping[str, Any]) -> Iterator[Moment]:
    if row["uncertain_at"]:
        what = N_("Ficou incerta: o servidor deu erro, não respondeu, ou o envio foi interrompido.")
        yield Moment(what, moment(row["uncertain_at"]), Result.WARNING)
    if row["reconciled_at"]:
        yield Moment(N_("Encontrada na conversa: ela saiu."), moment(row["reconciled_at"]))
    elif row["reconciliations"]:
        what = N_("A conversa foi lida {n} vezes e a mensagem não estava lá.")
        yield Moment(what, moment(row["updated_at"]), Result.UNKNOWN, {"n": row["reconciliations"]})
    if row["reconcile_at"]:
        at = moment(row["reconcile_at"])
        yield Moment(N_("A conversa será lida de novo."), at, Result.UNKNOWN, ahead=True)


def _ended(row: Mapping[str, Any]) -> Iterator[Moment]:
    if row["ended_at"]:
        what = messages.FAILURES[row["failure"]][0] if row["failure"] in messages.FAILURES else N_("Falhou.")
        yield Moment(what, moment(row["ended_at"]), Result.FAULT)


def _ack_keys(session: str, wpp_id: str | None) -> dict[UUID, int]:
    """The keys under which the receiver keeps the acks of a message."""
    if wpp_id is None:
        return {}
    found = {}
    for ack in ACKS:
        key = webhook.dedupe_key(session, webhook.EventKey("onack", session, wpp_id, ack))
        assert key is not None
        found[UUID(bytes=key)] = ack
    return found


# --- what it comes to -------------------------------------------------------------------------------------------------


class _Row:
    """What a conclusion looks at."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self.now: datetime = moment(row["now"])
        self.state = State(row["state"])
        self.failure: str | None = row["failure"]
        self.wait = _wait(row)
        self.ahead: int = row["ahead"]
        self.reads: int = row["reconciliations"]
        self.due: datetime = moment(row["run_at"])
        self.sending: datetime | None = moment(row["sending_at"])
        self.accepted: datetime | None = moment(row["accepted_at"])
        self.checking = row["reconcile_at"] is not None
        self.lid = any(parked["lid"] for parked in row["parked"])
        self.connected = row["session_status"] == sessions.Status.CONNECTED
        worker: datetime | None = moment(row["worker_at"])
        self.worked = worker is not None and self.now - worker < timedelta(seconds=health.ALIVE_SECONDS)


def _conclusion(row: _Row) -> Conclusion:
    ways = {
        State.QUEUED: _queued,
        State.SENDING: _sending,
        State.ACCEPTED: _accepted,
        State.FAILED: _failed,
        State.UNCERTAIN: _uncertain,
        State.CANCELLED: _cancelled,
    }
    return ways[row.state](row) if row.state in ways else _arrived(row)


def _queued(row: _Row) -> Conclusion:
    if not row.worked:
        what, todo = (
            N_("Está na fila, mas o processo que envia está parado."),
            N_("Fale com o suporte. Nada se perdeu."),
        )
        return Conclusion(Result.FAULT, what, todo, step=Step.SUPPORT)
    if row.wait is not None and row.wait.reason is Reason.OWNER:
        what = N_("Esperou demais e não sai mais sozinha.")
        return Conclusion(Result.WARNING, what, N_("Decida em “Incertos”: enviar agora ou descartar."), step=Step.SEND)
    if not row.connected:
        what = N_("Está na fila, mas o WhatsApp está desconectado.")
        return Conclusion(Result.WARNING, what, N_("Conecte: ela sai sozinha em seguida."), step=Step.PAIR)
    if row.wait is not None:
        what, todo, step = HELD_UP[row.wait.reason]
        return Conclusion(Result.WARNING, what, todo, step=step)
    if row.due > row.now:
        return Conclusion(Result.OK, N_("Ainda não é hora: tem hora marcada para sair."), N_("Nada a fazer."))
    if row.ahead:
        what = N_("Está na fila: há {n} mensagens desta sessão na frente.")
        return Conclusion(Result.OK, what, N_("Saem uma por vez. Espere."), {"n": row.ahead})
    return Conclusion(Result.OK, N_("Está na fila e é a próxima a sair."), N_("Espere alguns segundos."))


def _sending(row: _Row) -> Conclusion:
    if row.sending is not None and row.now - row.sending > CUT_OFF_AFTER:
        what = N_("O envio foi interrompido no meio.")
        todo = N_("Ela será marcada como incerta e conferida na conversa. Não envie de novo.")
        return Conclusion(Result.WARNING, what, todo)
    return Conclusion(Result.OK, N_("Está sendo enviada agora."), N_("Espere alguns segundos."))


def _accepted(row: _Row) -> Conclusion:
    if row.lid:
        what = N_("Ela saiu: a confirmação chegou com um código anônimo (@lid) e não foi ligada a ela.")
        return Conclusion(Result.WARNING, what, N_("Não envie de novo."))
    if row.accepted is not None and row.now - row.accepted > ACK_EXPECTED:
        what = N_("O servidor a aceitou, mas o WhatsApp não confirmou que a recebeu.")
        todo = N_("Pode não ter saído. O Diagnóstico lê a conversa e diz; não envie de novo antes.")
        return Conclusion(Result.WARNING, what, todo, step=Step.ASK)
    return Conclusion(
        Result.OK, N_("O servidor a aceitou; a confirmação do WhatsApp vem logo."), N_("Espere um pouco.")
    )


def _arrived(row: _Row) -> Conclusion:
    ends = {
        State.SENT: (
            N_("Saiu: o WhatsApp a tem, mas o celular da pessoa ainda não a recebeu."),
            N_("O celular dela deve estar desligado ou sem internet, ou ela bloqueou este número. Não envie de novo."),
        ),
        State.DELIVERED: (
            N_("Chegou ao celular da pessoa; ainda não foi lida."),
            N_("Nada a fazer. Quem desliga a confirmação de leitura nunca aparece como lida."),
        ),
        State.READ: (N_("Chegou e foi lida."), N_("Nada a fazer.")),
    }
    what, todo = ends[row.state]
    return Conclusion(Result.OK, what, todo)


def _failed(row: _Row) -> Conclusion:
    generic = (N_("Falhou; o motivo não foi registrado."), N_("Veja o Diagnóstico da sessão."))
    what, todo = messages.FAILURES.get(row.failure or "", generic)
    steps = {"disconnected": Step.PAIR, "not_on_whatsapp": Step.SEND, "refused": Step.SEND, "file_gone": Step.SEND}
    return Conclusion(Result.FAULT, what, todo, step=steps.get(row.failure or "", Step.ASK))


def _cancelled(_row: _Row) -> Conclusion:
    return Conclusion(Result.OK, N_("Foi cancelada antes de sair: nada foi enviado."), N_("Nada a fazer."))


def _uncertain(row: _Row) -> Conclusion:
    what = N_("Não sabemos se ela saiu: o servidor deu erro ou não respondeu.")
    if row.checking:
        todo = N_("Estamos conferindo na conversa (leituras até agora: {n}). Não envie de novo ainda.")
    else:
        todo = N_("Lemos a conversa {n} vezes e não a encontramos. Decida em “Incertos”: lá se vê a conversa.")
    return Conclusion(Result.WARNING, what, todo, {"n": row.reads}, None if row.checking else Step.SEND)
