"""The overview's three guides as checks of one session: what is, since when we know it, and what to do next.

`examine` judges what `evidence` found: the database's facts and, if it was asked, the server's answers. Nothing here
changes anything.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID

from services import evidence, findings, health, sessions
from services.db.actor import Actor
from services.errors import N_, InvalidPhone, WppUnauthorized
from services.evidence import Asked, Facts, Outgoing, Signal
from services.messages import State
from services.sessions import Session, Status
from services.wppconnect.phone import normalise, same_subscriber

# A first QR comes within seconds of a start; a server that says INITIALIZING for longer is stuck.
STUCK_AFTER = timedelta(seconds=30)
# A webhook that has not come this long after the start has not only been slow.
FIRST_DELIVERY = timedelta(seconds=10)
# The shortest true lifetime of a QR is 20 s: what is replaced faster is a loop, what comes again later is stale.
LOOP_SECONDS = 15.0
LOOP_CODES = 4
STALE_AFTER = timedelta(seconds=10)
# A proof older than this says nothing of now.
PROOF_FRESH = timedelta(minutes=15)
# Sends in the ten minutes before a phone's log-out that look like a burst. WhatsApp publishes no limit; this is ours.
BURST = 10
# A delivery of this size is a file in its body: legal, slow, and near the door's limit of 64 MB.
HUGE_BYTES = 10 * 1024 * 1024
# `inChat` comes once a start; a second one this much later means that the server started the session again by itself.
RESTART_GAP = timedelta(seconds=5)


class Result(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"  # works, or works still
    FAULT = "fault"  # this is why it does not work
    UNKNOWN = "unknown"  # no evidence either way


class Guide(StrEnum):
    """The overview's three questions."""

    QR = "qr"  # the QR does not appear
    SEND = "send"  # a message is not sent
    DROP = "drop"  # the session disconnects


class Step(StrEnum):
    """What can be done about it, each a button."""

    CONNECT = "connect"
    RECONNECT = "reconnect"
    DISCONNECT = "disconnect"
    PAIR = "pair"  # go to where the code is
    SEND = "send"  # go to where one sends
    MESSAGE = "message"  # open the dossier of `Check.message`
    ASK = "ask"  # ask the server again
    SUPPORT = "support"  # hand the report to whoever runs the servers


# What has a name → what it is, and what to do. Names of failures that end a session are those of `sessions.FAILURES`.
# The order is that of importance among results that are equally bad.
NAMES: dict[str, tuple[str, str]] = {
    "never_connected": (
        N_("Nenhum WhatsApp foi conectado por aqui ainda."),
        N_("Comece em “Meu WhatsApp”."),
    ),
    "worker_away": (
        N_("O processo que trata os avisos e os envios está parado."),
        N_("Fale com o suporte: o worker precisa ser iniciado."),
    ),
    "inbox_lagging": (
        N_("Os avisos chegam mais rápido do que são tratados."),
        N_("Espere um pouco; se não passar, fale com o suporte."),
    ),
    "server_unreachable": (
        N_("O servidor do WhatsApp não está respondendo."),
        N_("Espere um minuto e verifique de novo; se continuar, fale com o suporte."),
    ),
    "server_refused": (
        N_("O servidor do WhatsApp não aceita a nossa credencial."),
        N_("Fale com o suporte: WPP_SERVER_TOKEN precisa ser conferido."),
    ),
    "banned": (
        N_("O WhatsApp desconectou o aparelho logo depois de muitos envios seguidos."),
        N_("Veja no celular se há um aviso de bloqueio. Espere algumas horas e envie mais devagar."),
    ),
    "restart_all": (
        N_("O servidor reiniciou todas as sessões ao mesmo tempo."),
        N_("Não é o seu celular. Confira se voltou; se não, reconecte."),
    ),
    "page_gone": (
        N_("O servidor diz CONNECTED, mas a página do WhatsApp dele sumiu."),
        N_("Reconecte: o celular continua pareado."),
    ),
    "zombie": (
        N_("O servidor diz CONNECTED, mas o WhatsApp não responde por esta sessão."),
        N_("Reconecte: o celular continua pareado."),
    ),
    "close_half_works": (
        N_("O fim da sessão foi pedido, mas o servidor a mantém de pé."),
        N_("Desconecte de novo; se repetir, remova o aparelho pelo celular."),
    ),
    "webhook_refused": (
        N_("Avisos desta sessão chegam com o segredo errado e são recusados."),
        N_("Reconecte: isso registra um endereço novo no servidor."),
    ),
    "silent": (
        N_("A sessão está calada num horário em que costuma receber."),
        N_("Peça a alguém uma mensagem de teste; se nada chegar, reconecte."),
    ),
    "unannounced": (
        N_("A sessão funciona e envia, mas o servidor parou de avisar."),
        N_("Reconecte: isso registra o endereço dos avisos de novo."),
    ),
    "webhook_unreachable": (
        N_("O servidor do WhatsApp não consegue chegar ao nosso endereço de avisos."),
        N_("Reconecte; se repetir, fale com o suporte: PUBLIC_WEBHOOK_URL precisa ser conferido."),
    ),
    "stuck_initializing": (
        N_("O servidor está preso em INITIALIZING e não gera o código."),
        N_("Reconecte: isso fecha o que está preso e começa de novo."),
    ),
    "qr_loop": (
        N_("O servidor troca o código sem parar e a leitura não completa."),
        N_("Cancele, espere um minuto e conecte de novo."),
    ),
    "stale_qr": (
        N_("O servidor repete um código já vencido."),
        N_("O código velho não é mostrado. Reconecte para receber um novo."),
    ),
    "code_changes": (
        N_("O código de pareamento mudou enquanto era digitado."),
        N_("Digite sempre o mais novo, ou conecte pelo código QR."),
    ),
    "phone_offline": (
        N_("O servidor avisou que o celular está sem conexão."),
        N_("Ligue o celular, abra o WhatsApp nele e verifique de novo."),
    ),
    "lid_instead_of_phone": (
        N_("As confirmações chegam com um código anônimo (@lid) no lugar do telefone."),
        N_("A mensagem saiu; só a confirmação não foi ligada a ela."),
    ),
    "webhook_lost": (
        N_("Um aviso se perdeu no caminho: o servidor tenta uma vez só."),
        N_("A mensagem saiu, como mostra a conversa. Não envie de novo."),
    ),
    "accepted_but_never_sent": (
        N_("O servidor aceitou a mensagem, mas o WhatsApp nunca a recebeu."),
        N_("Reconecte e envie de novo depois de conferir a conversa no celular."),
    ),
    "no_ack": (
        N_("O servidor aceitou a mensagem e nenhuma confirmação chegou."),
        N_("Espere alguns minutos e verifique de novo."),
    ),
    "uncertain_send": (
        N_("Não sabemos se a mensagem saiu: o servidor deu erro ou não respondeu."),
        N_("Ela não é reenviada sozinha. Veja no celular antes de enviar outra."),
    ),
    "not_on_whatsapp": (
        N_("O número da última mensagem não está no WhatsApp."),
        N_("Confira o número com a pessoa."),
    ),
    "number_form": (
        N_("O número da última mensagem não tem a forma que o WhatsApp usa."),
        N_("Informe DDD e número, ou +código do país."),
    ),
    "old_address": (
        N_("O servidor ainda avisa pelo endereço de uma conexão anterior."),
        N_("Reconecte: isso registra o endereço novo."),
    ),
    "delivered_despite_error": (
        N_("O servidor deu erro, mas a mensagem saiu: foi encontrada na conversa."),
        N_("Nada a fazer."),
    ),
    "ack_before_reply": (
        N_("A confirmação chegou antes da resposta do envio."),
        N_("Nada a fazer: ela foi guardada e ligada à mensagem."),
    ),
    "ninth_digit": (
        N_("O WhatsApp usa este número sem o nono dígito."),
        N_("Nada a fazer: enviamos para a forma que ele usa."),
    ),
    "no_session_in_event": (
        N_("Avisos chegam sem dizer de qual sessão são."),
        N_("Nada a fazer: o endereço de cada sessão diz de quem são."),
    ),
    "webhook_duplicate": (
        N_("O servidor manda o mesmo aviso mais de uma vez."),
        N_("Nada a fazer: a repetição é marcada e não conta de novo."),
    ),
    "reused_message_id": (
        N_("Mensagens diferentes chegaram com a mesma identificação."),
        N_("Nada se perdeu: os avisos estão guardados."),
    ),
    "huge_media": (
        N_("Chegou um aviso com um arquivo muito grande dentro."),
        N_("Foi guardado inteiro. Acima de 64 MB o aviso seria recusado."),
    ),
}
SEVERITY = {Result.FAULT: 0, Result.WARNING: 1, Result.OK: 2, Result.UNKNOWN: 3}


@dataclass(frozen=True)
class Check:
    """One question with its answer. `fact` is the evidence (gettext source, filled with `params`), seen at `at`.

    `name` is a key of NAMES or of `sessions.FAILURES` where what was found has one.
    """

    question: str
    result: Result
    fact: str
    at: datetime | None = None
    params: Mapping[str, str | int] = field(default_factory=dict)
    name: str = ""
    step: Step | None = None
    message: UUID | None = None


@dataclass(frozen=True)
class Report:
    """All checks of one session. `names`: what was found, the worst first."""

    session: Session | None
    guides: Mapping[Guide, tuple[Check, ...]]
    at: datetime

    def _named(self) -> list[Check]:
        order = [*NAMES, *sessions.FAILURES]
        found = {check.name: check for checks in self.guides.values() for check in checks if check.name}
        return sorted(found.values(), key=lambda check: (SEVERITY[check.result], order.index(check.name)))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(check.name for check in self._named())

    @property
    def worst(self) -> Check | None:
        """The check that explains most, or None where nothing is wrong."""
        wrong = [one for one in self._named() if one.result in (Result.FAULT, Result.WARNING)]
        return wrong[0] if wrong else None


@dataclass(frozen=True)
class _Case:
    """Everything that a check looks at."""

    session: Session
    facts: Facts
    asked: Asked | None
    silent_since: datetime | None
    dead_since: datetime | None

    @property
    def attempt(self) -> list[Signal]:
        """What came since the newest start, oldest first."""
        begun = self.facts.begun or datetime.min.replace(tzinfo=UTC)
        return [one for one in reversed(self.facts.signals) if one.at >= begun]

    @property
    def delivered(self) -> bool:
        """Whether a delivery of this session arrived since its newest start."""
        at, begun = self.facts.delivered_at, self.facts.begun
        return at is not None and (begun is None or at >= begun)

    @property
    def state(self) -> str | None:
        """The server's newest word, ours to see or told."""
        return self.asked.state if self.asked and self.asked.state else self.session.reported_state


# --- the report -----------------------------------------------------------------------------------------------------


def examine(actor: Actor, user_id: UUID | None = None, asked: Asked | None = None) -> Report:
    """The three guides for the session of `user_id` (default: the actor's own), with what `ask` found, if it was asked.

    Raises Forbidden where it is somebody else's and the actor is no staff.
    """
    owner = evidence.owner_of(actor, user_id)
    session = sessions.get(actor, owner)
    facts = evidence.gather(actor, owner)
    if session is None:
        return Report(None, {guide: (_never_connected(), _worker(facts)) for guide in Guide}, facts.now)
    # What silence and a dead session are has one rule: the worker's. It alone may ask about numbers of other sessions.
    silent, dead = (findings.since(actor, kind, session.id) for kind in (findings.Kind.SILENT, findings.Kind.ZOMBIE))
    case = _Case(session, facts, asked, silent, dead)
    return Report(session, {guide: tuple(look(case) for look in looks) for guide, looks in CHECKS.items()}, facts.now)


def words(name: str) -> tuple[str, str]:
    """What a name of a report means, and what to do: two gettext sources."""
    return NAMES.get(name) or sessions.FAILURES[name]


def fact_of(check: Check, translated: Callable[[str], str] = str) -> str:
    """The evidence as a sentence, each text of it `translated`; as it is, in Portuguese."""
    params = dict(check.params)
    if "proof" in params:
        params["proof"] = translated(sessions.proof_words(str(params["proof"]) or None))
    return translated(check.fact).format(**params)


def masked(digits: str) -> str:
    """A phone as staff may see it: who is written to is the owner's business, the last digits tell two apart."""
    return f"…{digits[-4:]}"


# --- checks that belong to more than one guide ------------------------------------------------------------------------


def _never_connected() -> Check:
    fact = N_("Não há nenhuma sessão desta pessoa.")
    return Check(N_("“Conectar” foi acionado?"), Result.FAULT, fact, name="never_connected", step=Step.PAIR)


def _worker(facts: Facts) -> Check:
    question = N_("Os avisos e os envios estão sendo tratados?")
    if facts.worker_at is None or facts.now - facts.worker_at > timedelta(seconds=health.ALIVE_SECONDS):
        fact = N_("O worker não dá sinal de vida.")
        return Check(question, Result.FAULT, fact, facts.worker_at, name="worker_away", step=Step.SUPPORT)
    waiting = facts.waiting_since
    if waiting is not None and facts.now - waiting > timedelta(seconds=health.LAG_SECONDS):
        fact = N_("O aviso mais antigo da fila espera desde então.")
        return Check(question, Result.WARNING, fact, waiting, name="inbox_lagging", step=Step.ASK)
    return Check(question, Result.OK, N_("O worker deu sinal de vida e a fila anda."), facts.worker_at)


def _works(case: _Case) -> Check:
    return _worker(case.facts)


def _up(case: _Case) -> Check:
    """Is it truly up: what the server says beside what was proved."""
    question = N_("A sessão está mesmo de pé?")
    if case.asked is not None and case.asked.state is None:
        return _no_answer(question, case.asked)
    if case.session.status is Status.PAIRING:
        fact = N_("Ainda pareando: nada foi provado.")
        return Check(question, Result.UNKNOWN, fact, case.session.pairing_started_at, step=Step.PAIR)
    if case.session.status is Status.DISCONNECTED:
        return _down(question, case)
    if case.asked is not None and (fault := _seen_now(question, case.asked)) is not None:
        return fault
    if case.dead_since is not None:
        fact = N_("O servidor diz CONNECTED, mas o WhatsApp não responde desde então.")
        return Check(question, Result.FAULT, fact, case.dead_since, name="zombie", step=Step.RECONNECT)
    return _proved_before(question, case.session)


def _word(state: str | None) -> str:
    """A server's own word, which is somebody else's text: letters, digits and underscores of it."""
    return "".join(sign for sign in state or "" if sign.isalnum() or sign == "_")[:40]


def _no_answer(question: str, asked: Asked) -> Check:
    refused = asked.error == WppUnauthorized.code
    fact = N_("Perguntamos agora: a credencial foi recusada.") if refused else N_("Perguntamos agora: sem resposta.")
    name, step = ("server_refused", Step.SUPPORT) if refused else ("server_unreachable", Step.ASK)
    return Check(question, Result.FAULT, fact, asked.at, name=name, step=step)


def _down(question: str, case: _Case) -> Check:
    session, asked = case.session, case.asked
    if asked is not None and asked.state == "CONNECTED" and session.failure != "lost":
        fact = N_("Aqui consta como desconectada; o servidor diz CONNECTED.")
        return Check(question, Result.WARNING, fact, asked.at, name="close_half_works", step=Step.DISCONNECT)
    fact = N_("Está desconectada desde então.")
    return Check(question, Result.FAULT, fact, session.updated_at, name=_ending(case), step=Step.CONNECT)


def _proved_before(question: str, session: Session) -> Check:
    fact = N_("Última prova: {proof}.")
    params = {"proof": session.last_proof_kind or ""}
    if session.last_proof_at is None:
        return Check(question, Result.UNKNOWN, N_("Nada foi provado ainda."), step=Step.ASK)
    fresh = datetime.now(UTC) - session.last_proof_at < PROOF_FRESH
    result = Result.OK if fresh else Result.UNKNOWN
    return Check(question, result, fact, session.last_proof_at, params, step=None if fresh else Step.ASK)


def _seen_now(question: str, asked: Asked) -> Check | None:
    """What is wrong as the server says now. None where it says nothing wrong, which is no proof of life."""
    if asked.state != "CONNECTED":
        fact, params = N_("O servidor diz {state}."), {"state": _word(asked.state)}
        return Check(question, Result.FAULT, fact, asked.at, params, name="lost", step=Step.RECONNECT)
    if asked.page is False or asked.signed_out:
        fact = N_("O servidor diz CONNECTED, mas não há mais página nem conta.")
        return Check(question, Result.FAULT, fact, asked.at, name="page_gone", step=Step.RECONNECT)
    if not asked.unanswered:
        return None
    fact = N_("O servidor diz CONNECTED, mas o WhatsApp não respondeu à pergunta.")
    return Check(question, Result.FAULT, fact, asked.at, name="zombie", step=Step.RECONNECT)


def _phone(case: _Case) -> Check:
    """Is the phone online: only what it did, or what WhatsApp says for it, tells."""
    question = N_("O celular está online?")
    facts, session = case.facts, case.session
    last = next((one for one in facts.signals if one.word), None)
    if session.status is not Status.CONNECTED:
        fact = N_("Sem sessão de pé não há como saber.")
        return Check(question, Result.UNKNOWN, fact, session.updated_at)
    if last is not None and last.word == "phoneNotConnected" and not _after(facts.acked_at, last.at):
        fact = N_("O servidor avisou que o celular não responde.")
        return Check(question, Result.WARNING, fact, last.at, name="phone_offline", step=Step.ASK)
    if session.last_proof_at is not None and facts.now - session.last_proof_at < PROOF_FRESH:
        return Check(question, Result.OK, N_("Houve sinal dele há pouco."), session.last_proof_at)
    return Check(question, Result.UNKNOWN, N_("Último sinal dele."), session.last_proof_at, step=Step.ASK)


# --- the QR does not appear -------------------------------------------------------------------------------------------


def _called(case: _Case) -> Check:
    question = N_("“Conectar” foi acionado?")
    if case.session.pairing_started_at is None:
        return Check(question, Result.UNKNOWN, N_("Não há registro de um início por este console."), step=Step.PAIR)
    return Check(question, Result.OK, N_("Sim: o pedido foi registrado."), case.session.pairing_started_at)


def _accepted(case: _Case) -> Check:
    question = N_("O servidor aceitou o pedido?")
    session = case.session
    if case.asked is not None and case.asked.state is None:
        return _no_answer(question, case.asked)
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
    return Check(question, Result.OK, N_("Sim: ele diz {state}."), at, {"state": _word(case.state)})


def _delivers(case: _Case) -> Check:
    """Is the webhook's address ours and reachable from the server's side: only a delivery proves it."""
    question = N_("O servidor consegue nos avisar?")
    facts = case.facts
    if lost := _unannounced(case):
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
    if facts.begun is None or facts.now - facts.begun < FIRST_DELIVERY:
        return Check(question, Result.UNKNOWN, N_("A conexão acabou de começar."), facts.begun, step=Step.ASK)
    if case.session.status is Status.CONNECTED or case.state in ("QRCODE", "PHONECODE", "CONNECTED"):
        fact = N_("Nenhum aviso chegou desde o início, embora o servidor já tivesse o que avisar.")
        name = "webhook_unreachable"
        return Check(question, Result.FAULT, fact, facts.begun, name=name, step=Step.RECONNECT)
    return Check(question, Result.UNKNOWN, N_("Nenhum aviso desde o início; nada havia a avisar."), facts.begun)


def _unannounced(case: _Case) -> tuple[Result, str, datetime | None, Mapping[str, str | int], str, Step] | None:
    """The chat has an ack whose webhook never came: one was lost, or none comes any more."""
    message, asked = case.facts.unacknowledged, case.asked
    if message is None or asked is None or (asked.chat_ack or 0) < 1 or message.lid_ack:
        return None
    if _after(case.facts.delivered_at, message.accepted_at):
        fact = N_("A conversa confirma uma mensagem cujo aviso não chegou; outros chegaram depois.")
        return Result.WARNING, fact, message.accepted_at, {}, "webhook_lost", Step.MESSAGE
    fact = N_("A conversa confirma uma mensagem, mas nenhum aviso chegou desde então.")
    return Result.FAULT, fact, message.accepted_at, {}, "unannounced", Step.RECONNECT


def _token(case: _Case) -> Check:
    question = N_("O segredo dos avisos confere?")
    facts = case.facts
    if facts.refused.count and not _after(facts.delivered_at, facts.refused.at):
        fact, params = N_("Avisos recusados por segredo errado: {count}."), {"count": facts.refused.count}
        name, step = "webhook_refused", Step.RECONNECT
        return Check(question, Result.FAULT, fact, facts.refused.at, params, name=name, step=step)
    if facts.refused.count:
        fact, params = N_("Recusados: {count}; depois chegaram avisos certos."), {"count": facts.refused.count}
        return Check(question, Result.WARNING, fact, facts.refused.at, params)
    if case.delivered:
        return Check(question, Result.OK, N_("Sim: os avisos trazem o segredo certo."), facts.delivered_at)
    return Check(question, Result.UNKNOWN, N_("Nenhum aviso chegou ainda; nenhum foi recusado."), facts.begun)


def _code(case: _Case) -> Check:
    """The QR or the pairing code itself."""
    question = N_("O código aparece e continua valendo?")
    session = case.session
    qrs = [one for one in case.attempt if one.kind == "qrcode"]
    codes = {one.mark for one in case.attempt if one.kind == "phoneCode"}
    newest = qrs[-1].at if qrs else None
    count = {"count": max(len({one.mark for one in qrs}), case.facts.qr_count)}
    if stale := _stale(qrs):
        result = Result.OK if session.status is Status.CONNECTED else Result.WARNING
        fact = N_("Um código que já tinha vencido veio de novo.")
        step = None if result is Result.OK else Step.RECONNECT
        return Check(question, result, fact, stale, name="stale_qr", step=step)
    if session.status is Status.CONNECTED:
        return Check(question, Result.OK, N_("Já serviu: a sessão conectou."), session.connected_at)
    if _loops(qrs):
        fact = N_("Vieram {count} códigos diferentes, cada um antes de o anterior vencer.")
        return Check(question, Result.FAULT, fact, newest, count, name="qr_loop", step=Step.RECONNECT)
    if len(codes) > 1:
        fact = N_("Vieram {count} códigos de pareamento nesta tentativa.")
        params = {"count": len(codes)}
        return Check(question, Result.WARNING, fact, session.phone_code_at, params, name="code_changes", step=Step.PAIR)
    begun = case.facts.begun
    if case.state == "INITIALIZING" and begun is not None and case.facts.now - begun > STUCK_AFTER:
        fact = N_("O servidor está em INITIALIZING desde o início.")
        return Check(question, Result.FAULT, fact, begun, name="stuck_initializing", step=Step.RECONNECT)
    if session.status is Status.PAIRING and (count["count"] or codes):
        return Check(question, Result.OK, N_("Sim: há um código para ler."), newest, step=Step.PAIR)
    if session.status is Status.PAIRING:
        return Check(question, Result.UNKNOWN, N_("O código ainda está sendo preparado."), begun, step=Step.PAIR)
    fact = N_("Nenhuma tentativa em andamento.")
    return Check(question, Result.UNKNOWN, fact, session.updated_at, step=Step.CONNECT)


def _loops(qrs: list[Signal]) -> bool:
    marks = {one.mark for one in qrs}
    if len(marks) < LOOP_CODES:
        return False
    return (qrs[-1].at - qrs[0].at).total_seconds() / (len(marks) - 1) < LOOP_SECONDS


def _stale(qrs: list[Signal]) -> datetime | None:
    """When a QR came again after its lifetime; the same one twice at once is only a doubled delivery."""
    first: dict[str | None, datetime] = {}
    for one in qrs:
        if one.at - first.setdefault(one.mark, one.at) > STALE_AFTER:
            return one.at
    return None


# --- a message is not sent --------------------------------------------------------------------------------------------


def _number(case: _Case) -> Check:
    """The form of the number of the newest message."""
    question = N_("O número tem a forma certa?")
    last = case.facts.last
    if last is None:
        return Check(question, Result.UNKNOWN, N_("Nada foi enviado ainda."), step=Step.SEND)
    params = {"phone": masked(last.phone)}
    at, message = last.created_at, last.id
    if last.failure == "not_on_whatsapp":
        fact = N_("O WhatsApp disse que {phone} não é dele.")
        return Check(question, Result.FAULT, fact, at, params, "not_on_whatsapp", Step.SEND, message)
    if not _well_formed(last.phone):
        fact = N_("{phone} não é um número completo, com código do país e DDD.")
        return Check(question, Result.FAULT, fact, at, params, "number_form", Step.SEND, message)
    used = (last.address or "").partition("@")[0]
    if last.address and not last.address.endswith("@lid") and used != last.phone and same_subscriber(used, last.phone):
        fact = N_("Sim: {phone} foi enviado para a forma sem o nono dígito.")
        return Check(question, Result.OK, fact, at, params, "ninth_digit", None, message)
    return Check(question, Result.OK, N_("Sim: {phone} tem código do país e DDD."), at, params, message=message)


def _well_formed(digits: str) -> bool:
    try:
        normalise(f"+{digits}")
    except InvalidPhone:
        return False
    return True


def _acks(case: _Case) -> Check:
    """Did acknowledgements come for what was sent."""
    question = N_("As confirmações chegam?")
    facts = case.facts
    if (message := facts.unacknowledged) is not None:
        name, result, fact = _missing_ack(message, case.asked)
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


def _missing_ack(message: Outgoing, asked: Asked | None) -> tuple[str, Result, str]:
    if message.lid_ack:
        fact = N_("Veio uma confirmação com @lid que corresponde à mensagem.")
        return "lid_instead_of_phone", Result.WARNING, fact
    if asked is None or not asked.chat_read:
        return "no_ack", Result.WARNING, N_("Aceita pelo servidor há mais de um minuto, sem confirmação.")
    if (asked.chat_ack or 0) < 1:
        fact = N_("Lemos a conversa: o WhatsApp não tem a mensagem.")
        return "accepted_but_never_sent", Result.FAULT, fact
    return "webhook_lost", Result.WARNING, N_("Lemos a conversa: a mensagem saiu, só o aviso não chegou.")


def _outcome(case: _Case) -> Check:
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


# --- the session disconnects ------------------------------------------------------------------------------------------


def _ended(case: _Case) -> Check:
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
    name = _ending(case)
    if name == "banned":
        fact, params = N_("Foram {count} envios nos dez minutos antes."), {"count": facts.before_the_end}
        return Check(question, Result.FAULT, fact, session.updated_at, params, name=name, step=Step.SUPPORT)
    fact = N_("Este foi o motivo registrado.")
    return Check(question, Result.FAULT, fact, session.updated_at, name=name, step=Step.CONNECT)


def _ending(case: _Case) -> str:
    """The name for why a session is down; empty where somebody ended it on purpose."""
    failure = case.session.failure or ""
    if failure == "phone_logged_out" and case.facts.before_the_end >= BURST:
        return "banned"
    if failure == "not_ended":
        return "close_half_works"
    if failure == "lost" and case.asked is not None and case.asked.state == "CONNECTED":
        return "page_gone"
    return failure if failure in sessions.FAILURES or failure in NAMES else ""


def _together(case: _Case) -> Check:
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


def _oddities(case: _Case) -> Check:
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
    if facts.largest.count > HUGE_BYTES:
        fact, params = N_("O maior aviso tinha {count} MB."), {"count": facts.largest.count // 1024**2}
        return Check(question, Result.OK, fact, facts.largest.at, params, name="huge_media")
    return Check(question, Result.OK, N_("Sim: nada de estranho nos últimos avisos."), facts.delivered_at)


CHECKS: dict[Guide, tuple[Callable[[_Case], Check], ...]] = {
    Guide.QR: (_called, _accepted, _delivers, _token, _code, _works),
    Guide.SEND: (_up, _number, _phone, _acks, _outcome, _works),
    Guide.DROP: (_ended, _together, _phone, _up, _delivers, _oddities),
}


def _after(one: datetime | None, other: datetime | None) -> bool:
    return one is not None and other is not None and one > other
