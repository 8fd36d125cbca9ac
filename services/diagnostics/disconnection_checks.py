"""Checks of the guide “the session disconnects”."""

from datetime import timedelta

from services.diagnostics.check_report import Check, Result, Step
from services.diagnostics.shared_checks import CheckInput, get_end_reason
from services.errors import N_
from services.fleet.session import Status

# A delivery of this size is a file in its body: legal, slow, and near the door's limit of 64 MB.
HUGE_DELIVERY_BYTES = 10 * 1024 * 1024
# `inChat` comes once a start; a second one this much later means that the server started the session again by itself.
RESTART_GAP = timedelta(seconds=5)


def check_end_reason(case: CheckInput) -> Check:
    """Why it last ended."""
    question = N_("Por que caiu?")
    session, facts = case.session, case.facts
    if session.status is Status.CONNECTED and session.failure == "not_ended":
        fact = N_("Foi pedido o fim, e o servidor a mantém de pé.")
        name, step = "close_half_works", Step.DISCONNECT
        return Check(question, Result.WARNING, fact, session.updated_at, name=name, step=step)
    if session.status is not Status.DISCONNECTED:
        return Check(question, Result.OK, N_("Não caiu desde que conectou."), session.connected_at)
    if session.failure is None:
        fact = N_("Foi desconectada por aqui, a pedido.")
        return Check(question, Result.OK, fact, session.updated_at, step=Step.CONNECT)
    name = get_end_reason(case)
    if name == "banned":
        fact, params = N_("Foram {count} envios nos dez minutos antes."), {"count": facts.before_the_end}
        return Check(question, Result.FAULT, fact, session.updated_at, params, name=name, step=Step.SUPPORT)
    fact = N_("Este foi o motivo registrado.")
    return Check(question, Result.FAULT, fact, session.updated_at, name=name, step=Step.CONNECT)


def check_other_sessions(case: CheckInput) -> Check:
    """Did the whole server fall or restart, and not only this session."""
    question = N_("Caiu sozinha, ou com outras?")
    facts = case.facts
    ups = [one.at for one in case.attempt if one.word == "inChat"]
    restarted = len(ups) > 1 and ups[-1] - ups[0] > RESTART_GAP
    others = facts.restarted if restarted else facts.fallen
    if others and others * 2 >= facts.neighbours:
        fact, params = N_("Outras sessões do mesmo servidor no mesmo minuto: {count}."), {"count": others}
        down = case.session.status is Status.DISCONNECTED
        at = ups[-1] if restarted else case.session.updated_at
        step = Step.CONNECT if down else Step.ASK
        return Check(question, Result.WARNING, fact, at, params, name="restart_all", step=step)
    if restarted:
        fact = N_("O servidor reiniciou só esta sessão.")
        return Check(question, Result.WARNING, fact, ups[-1], step=Step.ASK)
    return Check(question, Result.OK, N_("Nenhuma outra caiu ou reiniciou junto."), facts.now)


def check_server_oddities(case: CheckInput) -> Check:
    """What the server does wrong and this console puts up with."""
    question = N_("O servidor se comporta?")
    facts = case.facts
    for name, tally, fact in (
        ("reused_message_id", facts.reused, N_("Identificações repetidas em mensagens diferentes: {count}.")),
        ("no_session_in_event", facts.sessionless, N_("Avisos sem sessão: {count}; atribuídos pelo endereço.")),
        ("webhook_duplicate", facts.doubled, N_("Avisos repetidos: {count}; marcados e não contados.")),
    ):
        if tally.count:
            return Check(question, Result.OK, fact, tally.at, {"count": tally.count}, name=name)
    if facts.largest.count > HUGE_DELIVERY_BYTES:
        fact, params = N_("O maior aviso tinha {count} MB."), {"count": facts.largest.count // 1024**2}
        return Check(question, Result.OK, fact, facts.largest.at, params, name="huge_media")
    return Check(question, Result.OK, N_("Sim: nada de estranho nos últimos avisos."), facts.delivered_at)
