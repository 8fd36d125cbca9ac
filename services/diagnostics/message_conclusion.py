"""What one message's trace comes to: why it has not arrived, or that it has, and what to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from services.diagnostics.check_report import Result, Step
from services.diagnostics.message_facts import MessageFacts
from services.errors import N_
from services.messaging.state import FAILURES, State, WaitReason

# A claim, a call and its commit take no longer than the lane's lease; what is still `sending` then was cut off.
SENDING_CUT_OFF_AFTER = timedelta(seconds=90)
# WhatsApp's first acknowledgement comes within seconds.
ACK_EXPECTED_WITHIN = timedelta(minutes=1)
# What it comes to, and what to do.
WAIT_CONCLUSIONS: dict[WaitReason, tuple[str, str, Step]] = {
    WaitReason.SERVER: (
        N_("Está na fila e nada saiu: o servidor do WhatsApp não responde."),
        N_("Ela sai sozinha quando ele voltar. Veja o Diagnóstico da sessão."),
        Step.ASK,
    ),
    WaitReason.SESSION: (
        N_("Está na fila e nada saiu: o servidor diz que a sessão caiu."),
        N_("Ela sai sozinha quando a sessão voltar. Veja o Diagnóstico da sessão."),
        Step.ASK,
    ),
    WaitReason.NO_ANSWER: (
        N_("Está na fila e nada saiu: o WhatsApp não responde por esta sessão."),
        N_("Tentamos de novo sozinhos. Veja o Diagnóstico da sessão."),
        Step.ASK,
    ),
    WaitReason.SETUP: (
        N_("Está na fila e nada saiu: o servidor do WhatsApp não aceita nossa credencial."),
        N_("Fale com o suporte. Ela sai sozinha quando o acesso voltar."),
        Step.SUPPORT,
    ),
    WaitReason.FILES: (
        N_("Está na fila e nada saiu: o arquivo dela não pôde ser lido agora."),
        N_("Tentamos de novo sozinhos; se demorar, fale com o suporte."),
        Step.SUPPORT,
    ),
    WaitReason.NUMBERS: (
        N_("Está na fila e nada saiu: o número ainda não pôde ser conferido no WhatsApp."),
        N_("As consultas por hora são poucas. Tentamos de novo sozinhos em minutos."),
        Step.ASK,
    ),
}

Params = Mapping[str, str | int]


@dataclass(frozen=True)
class Conclusion:
    """Why it has not arrived, or that it has, and what to do: two gettext sources filled with `params`."""

    result: Result
    what: str
    todo: str
    params: Params = field(default_factory=dict)
    step: Step | None = None


def conclude(facts: MessageFacts) -> Conclusion:
    """Say where a message stands now, why, and what its owner can do."""
    ways = {
        State.QUEUED: _conclude_queued,
        State.SENDING: _conclude_sending,
        State.ACCEPTED: _conclude_accepted,
        State.FAILED: _conclude_failed,
        State.UNCERTAIN: _conclude_uncertain,
        State.CANCELLED: _conclude_cancelled,
    }
    return ways[facts.state](facts) if facts.state in ways else _conclude_arrived(facts)


def _conclude_queued(facts: MessageFacts) -> Conclusion:
    if not facts.is_worker_alive:
        what, todo = (
            N_("Está na fila, mas o processo que envia está parado."),
            N_("Fale com o suporte. Nada se perdeu."),
        )
        return Conclusion(Result.FAULT, what, todo, step=Step.SUPPORT)
    if facts.wait is not None and facts.wait.reason is WaitReason.OWNER:
        what = N_("Esperou demais e não sai mais sozinha.")
        return Conclusion(Result.WARNING, what, N_("Decida em “Incertos”: enviar agora ou descartar."), step=Step.SEND)
    if not facts.is_connected:
        what = N_("Está na fila, mas o WhatsApp está desconectado.")
        return Conclusion(Result.WARNING, what, N_("Conecte: ela sai sozinha em seguida."), step=Step.PAIR)
    if facts.wait is not None:
        what, todo, step = WAIT_CONCLUSIONS[facts.wait.reason]
        return Conclusion(Result.WARNING, what, todo, step=step)
    if facts.run_at > facts.now:
        return Conclusion(Result.OK, N_("Ainda não é hora: tem hora marcada para sair."), N_("Nada a fazer."))
    if facts.ahead:
        what = N_("Está na fila: há {n} mensagens desta sessão na frente.")
        return Conclusion(Result.OK, what, N_("Saem uma por vez. Espere."), {"n": facts.ahead})
    return Conclusion(Result.OK, N_("Está na fila e é a próxima a sair."), N_("Espere alguns segundos."))


def _conclude_sending(facts: MessageFacts) -> Conclusion:
    if facts.sending_at is not None and facts.now - facts.sending_at > SENDING_CUT_OFF_AFTER:
        what = N_("O envio foi interrompido no meio.")
        todo = N_("Ela será marcada como incerta e conferida na conversa. Não envie de novo.")
        return Conclusion(Result.WARNING, what, todo)
    return Conclusion(Result.OK, N_("Está sendo enviada agora."), N_("Espere alguns segundos."))


def _conclude_accepted(facts: MessageFacts) -> Conclusion:
    if any(pending.lid for pending in facts.pending):
        what = N_("Ela saiu: a confirmação chegou com um código anônimo (@lid) e não foi ligada a ela.")
        return Conclusion(Result.WARNING, what, N_("Não envie de novo."))
    if facts.accepted_at is not None and facts.now - facts.accepted_at > ACK_EXPECTED_WITHIN:
        what = N_("O servidor a aceitou, mas o WhatsApp não confirmou que a recebeu.")
        todo = N_("Pode não ter saído. O Diagnóstico lê a conversa e diz; não envie de novo antes.")
        return Conclusion(Result.WARNING, what, todo, step=Step.ASK)
    return Conclusion(
        Result.OK, N_("O servidor a aceitou; a confirmação do WhatsApp vem logo."), N_("Espere um pouco.")
    )


def _conclude_arrived(facts: MessageFacts) -> Conclusion:
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
    what, todo = ends[facts.state]
    return Conclusion(Result.OK, what, todo)


def _conclude_failed(facts: MessageFacts) -> Conclusion:
    generic = (N_("Falhou; o motivo não foi registrado."), N_("Veja o Diagnóstico da sessão."))
    what, todo = FAILURES.get(facts.failure or "", generic)
    steps = {"disconnected": Step.PAIR, "not_on_whatsapp": Step.SEND, "refused": Step.SEND, "file_gone": Step.SEND}
    return Conclusion(Result.FAULT, what, todo, step=steps.get(facts.failure or "", Step.ASK))


def _conclude_cancelled(_facts: MessageFacts) -> Conclusion:
    return Conclusion(Result.OK, N_("Foi cancelada antes de sair: nada foi enviado."), N_("Nada a fazer."))


def _conclude_uncertain(facts: MessageFacts) -> Conclusion:
    what = N_("Não sabemos se ela saiu: o servidor deu erro ou não respondeu.")
    checking = facts.reconcile_at is not None
    if checking:
        todo = N_("Estamos conferindo na conversa (leituras até agora: {n}). Não envie de novo ainda.")
    else:
        todo = N_("Lemos a conversa {n} vezes e não a encontramos. Decida em “Incertos”: lá se vê a conversa.")
    return Conclusion(Result.WARNING, what, todo, {"n": facts.reconciliations}, None if checking else Step.SEND)
