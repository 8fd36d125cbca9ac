"""Checks of the guide “a message is not sent”."""

from services.diagnostics.check_report import Check, Result, Step, mask_phone
from services.diagnostics.facts import OutgoingMessage, ServerAnswers
from services.diagnostics.shared_checks import CheckInput
from services.errors import N_
from services.messaging.state import State
from services.wppconnect.errors import InvalidPhone
from services.wppconnect.phone import is_same_subscriber, read_address

BRAZIL = "55"


def check_own_number(case: CheckInput) -> Check:
    """Is it the number for which what waits was made."""
    question = N_("O WhatsApp conectado é o mesmo número de antes?")
    if case.number_changed_at is not None:
        fact = N_("Não: outro número foi pareado, e nada sai até a decisão da própria pessoa.")
        return Check(question, Result.FAULT, fact, case.number_changed_at, name="other_number", step=Step.PAIR)
    if case.session.phone_number is None:
        return Check(question, Result.UNKNOWN, N_("O servidor ainda não disse qual é o número."), step=Step.ASK)
    return Check(question, Result.OK, N_("Sim."))


def check_number_form(case: CheckInput) -> Check:
    """The form of the number of the newest message."""
    question = N_("O número tem a forma certa?")
    last = case.facts.last
    if last is None:
        return Check(question, Result.UNKNOWN, N_("Nada foi enviado ainda."), step=Step.SEND)
    params = {"phone": mask_phone(last.phone)}
    at, message = last.created_at, last.id
    if last.failure == "not_on_whatsapp":
        fact = N_("O WhatsApp disse que {phone} não é dele.")
        return Check(question, Result.FAULT, fact, at, params, "not_on_whatsapp", Step.SEND, message)
    if not _is_well_formed(last.phone):
        fact = N_("{phone} não é um número completo, com código do país e DDD.")
        return Check(question, Result.FAULT, fact, at, params, "number_form", Step.SEND, message)
    used = (last.address or "").partition("@")[0]
    if (
        last.address
        and not last.address.endswith("@lid")
        and used != last.phone
        and used.startswith(BRAZIL)  # the other countries' second spelling is not the ninth digit
        and is_same_subscriber(used, last.phone)
    ):
        fact = N_("Sim: {phone} foi enviado para a forma sem o nono dígito.")
        return Check(question, Result.OK, fact, at, params, "ninth_digit", None, message)
    return Check(question, Result.OK, N_("Sim: {phone} tem código do país e DDD."), at, params, message=message)


def _is_well_formed(address: str) -> bool:
    try:
        read_address(address if "@" in address else f"+{address}")
    except InvalidPhone:
        return False
    return True


def check_acknowledgements(case: CheckInput) -> Check:
    """Did acknowledgements come for what was sent."""
    question = N_("As confirmações chegam?")
    facts = case.facts
    if (message := facts.unacknowledged) is not None:
        name, result, fact = _explain_missing_ack(message, case.asked)
        return Check(question, result, fact, message.accepted_at, {}, name, Step.MESSAGE, message.id)
    if (last := facts.last) is None:
        return Check(question, Result.UNKNOWN, N_("Nada foi enviado ainda."), step=Step.SEND)
    if last.reconciled_at is not None:
        fact = N_("A última mensagem foi encontrada na conversa depois de um erro.")
        name = "delivered_despite_error"
        return Check(question, Result.OK, fact, last.reconciled_at, name=name, message=last.id, step=Step.MESSAGE)
    if last.sent_at is not None and last.accepted_at is not None and last.sent_at <= last.accepted_at:
        fact = N_("Sim: a última já estava aqui quando o servidor respondeu.")
        return Check(question, Result.OK, fact, last.sent_at, name="ack_before_reply", message=last.id)
    if facts.acked_at is not None:
        return Check(question, Result.OK, N_("Sim: a última confirmação chegou."), facts.acked_at, message=last.id)
    return Check(question, Result.UNKNOWN, N_("Nenhuma confirmação ainda."), last.created_at, step=Step.ASK)


def _explain_missing_ack(message: OutgoingMessage, asked: ServerAnswers | None) -> tuple[str, Result, str]:
    if message.lid_ack:
        fact = N_("Veio uma confirmação com @lid que corresponde à mensagem.")
        return "lid_instead_of_phone", Result.WARNING, fact
    if asked is None or not asked.chat_read:
        return "no_ack", Result.WARNING, N_("Aceita pelo servidor há mais de um minuto, sem confirmação.")
    if (asked.chat_ack or 0) < 1:
        fact = N_("Lemos a conversa: o WhatsApp não tem a mensagem.")
        return "accepted_but_never_sent", Result.FAULT, fact
    return "webhook_lost", Result.WARNING, N_("Lemos a conversa: a mensagem saiu, só o aviso não chegou.")


def check_message_outcome(case: CheckInput) -> Check:
    """Is there a message of which nobody knows whether it left, or one that failed."""
    question = N_("Sabemos o que houve com cada mensagem?")
    facts = case.facts
    if (message := facts.uncertain) is not None:
        fact = N_("Uma mensagem está incerta desde então.")
        name = "uncertain_send"
        at = message.uncertain_at
        return Check(question, Result.WARNING, fact, at, name=name, step=Step.MESSAGE, message=message.id)
    if (last := facts.last) is None:
        return Check(question, Result.UNKNOWN, N_("Nada foi enviado ainda."), step=Step.SEND)
    if last.state is State.FAILED:
        fact = N_("A última mensagem falhou; nada ficou em dúvida.")
        return Check(question, Result.WARNING, fact, last.created_at, step=Step.MESSAGE, message=last.id)
    return Check(question, Result.OK, N_("Sim."), last.created_at, step=Step.MESSAGE, message=last.id)
