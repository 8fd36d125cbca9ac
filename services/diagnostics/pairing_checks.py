"""Checks of the guide “the QR does not appear”."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from services.diagnostics.check_report import Check, Result, Step
from services.diagnostics.facts import SessionEvent
from services.diagnostics.shared_checks import CheckInput, is_after, safe_word, server_gave_no_answer
from services.errors import N_
from services.fleet.session import Status

# A first QR comes within seconds of a start; a server that says INITIALIZING for longer is stuck.
INITIALIZING_STUCK_AFTER = timedelta(seconds=30)
# A webhook that has not come this long after the start has not only been slow.
FIRST_DELIVERY_WITHIN = timedelta(seconds=10)
# The shortest true lifetime of a QR is 20 s: what is replaced faster is a loop, what comes again later is stale.
QR_LOOP_SECONDS = 15.0
QR_LOOP_CODES = 4
QR_STALE_AFTER = timedelta(seconds=10)


def check_start_requested(case: CheckInput) -> Check:
    """Checks that this console recorded a start of the session."""
    question = N_("“Conectar” foi acionado?")
    if case.session.pairing_started_at is None:
        return Check(question, Result.UNKNOWN, N_("Não há registro de um início por este console."), step=Step.PAIR)
    return Check(question, Result.OK, N_("Sim: o pedido foi registrado."), case.session.pairing_started_at)


def check_server_accepted(case: CheckInput) -> Check:
    """Checks that the server took the start, and says the state that it answers."""
    question = N_("O servidor aceitou o pedido?")
    session = case.session
    if case.asked is not None and case.asked.state is None:
        return server_gave_no_answer(question, case.asked)
    if session.failure in ("server_unreachable", "server_refused"):
        facts = {
            "server_unreachable": N_("Não: o servidor não respondeu ao pedido."),
            "server_refused": N_("Não: o servidor recusou o pedido."),
        }
        step = Step.CONNECT if session.failure == "server_unreachable" else Step.SUPPORT
        fact = facts[session.failure]
        return Check(question, Result.FAULT, fact, session.updated_at, name=session.failure, step=step)
    if case.state is None:
        return Check(question, Result.UNKNOWN, N_("Ainda não houve resposta."), step=Step.ASK)
    at = case.asked.at if case.asked else session.reported_at
    return Check(question, Result.OK, N_("Sim: ele diz {state}."), at, {"state": safe_word(case.state)})


def check_webhook_delivery(case: CheckInput) -> Check:
    """Is the webhook's address ours and reachable from the server's side: only a delivery proves it."""
    question = N_("O servidor consegue nos avisar?")
    facts = case.facts
    if lost := _find_lost_webhook(case):
        message = case.facts.unacknowledged
        return Check(question, *lost, message=message.id if message else None)
    if case.silent_since is not None:
        fact = N_("Nada chega desde antes deste momento, num horário em que costuma chegar.")
        return Check(question, Result.WARNING, fact, case.silent_since, name="silent", step=Step.RECONNECT)
    if case.delivered and facts.earlier_address:
        fact = N_("O último aviso veio pelo endereço de uma conexão anterior.")
        name, step = "old_address", Step.RECONNECT
        return Check(question, Result.WARNING, fact, facts.delivered_at, name=name, step=step)
    if case.delivered:
        fact = N_("Sim: o último aviso chegou pelo endereço desta conexão.")
        return Check(question, Result.OK, fact, facts.delivered_at)
    if facts.begun is None or facts.now - facts.begun < FIRST_DELIVERY_WITHIN:
        return Check(question, Result.UNKNOWN, N_("A conexão acabou de começar."), facts.begun, step=Step.ASK)
    if case.session.status is Status.CONNECTED or case.state in ("QRCODE", "PHONECODE", "CONNECTED"):
        fact = N_("Nenhum aviso chegou desde o início, embora o servidor já tivesse o que avisar.")
        name = "webhook_unreachable"
        return Check(question, Result.FAULT, fact, facts.begun, name=name, step=Step.RECONNECT)
    return Check(question, Result.UNKNOWN, N_("Nenhum aviso desde o início; nada havia a avisar."), facts.begun)


def _find_lost_webhook(
    case: CheckInput,
) -> tuple[Result, str, datetime | None, Mapping[str, str | int], str, Step] | None:
    """The chat has an ack whose webhook never came: one was lost, or none comes any more."""
    message, asked = case.facts.unacknowledged, case.asked
    if message is None or asked is None or (asked.chat_ack or 0) < 1 or message.lid_ack:
        return None
    if is_after(case.facts.delivered_at, message.accepted_at):
        fact = N_("A conversa confirma uma mensagem cujo aviso não chegou; outros chegaram depois.")
        return Result.WARNING, fact, message.accepted_at, {}, "webhook_lost", Step.MESSAGE
    fact = N_("A conversa confirma uma mensagem, mas nenhum aviso chegou desde então.")
    return Result.FAULT, fact, message.accepted_at, {}, "unannounced", Step.RECONNECT


def check_webhook_secret(case: CheckInput) -> Check:
    """Checks that events arrive with the right secret and are not refused."""
    question = N_("O segredo dos avisos confere?")
    facts = case.facts
    if facts.refused.count and not is_after(facts.delivered_at, facts.refused.at):
        fact, params = N_("Avisos recusados por segredo errado: {count}."), {"count": facts.refused.count}
        name, step = "webhook_refused", Step.RECONNECT
        return Check(question, Result.FAULT, fact, facts.refused.at, params, name=name, step=step)
    if facts.refused.count:
        fact, params = N_("Recusados: {count}; depois chegaram avisos certos."), {"count": facts.refused.count}
        return Check(question, Result.WARNING, fact, facts.refused.at, params)
    if case.delivered:
        return Check(question, Result.OK, N_("Sim: os avisos trazem o segredo certo."), facts.delivered_at)
    return Check(question, Result.UNKNOWN, N_("Nenhum aviso chegou ainda; nenhum foi recusado."), facts.begun)


def check_pairing_code(case: CheckInput) -> Check:
    """The QR or the pairing code itself."""
    question = N_("O código aparece e continua valendo?")
    session = case.session
    qrs = [one for one in case.attempt if one.kind == "qrcode"]
    codes = {one.mark for one in case.attempt if one.kind == "phoneCode"}
    newest = qrs[-1].at if qrs else None
    count = {"count": max(len({one.mark for one in qrs}), case.facts.qr_count)}
    if stale := _find_stale_qr(qrs):
        result = Result.OK if session.status is Status.CONNECTED else Result.WARNING
        fact = N_("Um código que já tinha vencido veio de novo.")
        step = None if result is Result.OK else Step.RECONNECT
        return Check(question, result, fact, stale, name="stale_qr", step=step)
    if session.status is Status.CONNECTED:
        return Check(question, Result.OK, N_("Já serviu: a sessão conectou."), session.connected_at)
    if _qr_loops(qrs):
        fact = N_("Vieram {count} códigos diferentes, cada um antes de o anterior vencer.")
        return Check(question, Result.FAULT, fact, newest, count, name="qr_loop", step=Step.RECONNECT)
    if len(codes) > 1:
        fact = N_("Vieram {count} códigos de pareamento nesta tentativa.")
        params = {"count": len(codes)}
        return Check(question, Result.WARNING, fact, session.phone_code_at, params, name="code_changes", step=Step.PAIR)
    begun = case.facts.begun
    if case.state == "INITIALIZING" and begun is not None and case.facts.now - begun > INITIALIZING_STUCK_AFTER:
        fact = N_("O servidor está em INITIALIZING desde o início.")
        return Check(question, Result.FAULT, fact, begun, name="stuck_initializing", step=Step.RECONNECT)
    if session.status is Status.PAIRING and (count["count"] or codes):
        return Check(question, Result.OK, N_("Sim: há um código para ler."), newest, step=Step.PAIR)
    if session.status is Status.PAIRING:
        return Check(question, Result.UNKNOWN, N_("O código ainda está sendo preparado."), begun, step=Step.PAIR)
    fact = N_("Nenhuma tentativa em andamento.")
    return Check(question, Result.UNKNOWN, fact, session.updated_at, step=Step.CONNECT)


def _qr_loops(qrs: list[SessionEvent]) -> bool:
    marks = {one.mark for one in qrs}
    if len(marks) < QR_LOOP_CODES:
        return False
    return (qrs[-1].at - qrs[0].at).total_seconds() / (len(marks) - 1) < QR_LOOP_SECONDS


def _find_stale_qr(qrs: list[SessionEvent]) -> datetime | None:
    """When a QR came again after its lifetime; the same one twice at once is only a doubled delivery."""
    first: dict[str | None, datetime] = {}
    for one in qrs:
        if one.at - first.setdefault(one.mark, one.at) > QR_STALE_AFTER:
            return one.at
    return None
