"""Checks that belong to more than one guide, and the input that every check reads."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from services.diagnostics.check_report import Check, Result, Step
from services.diagnostics.facts import Facts, ServerAnswers, SessionEvent
from services.diagnostics.problems import PROBLEMS
from services.errors import N_
from services.fleet import session_texts
from services.fleet.session import Session, Status
from services.platform import heartbeats
from services.wppconnect.errors import WppUnauthorized

# A proof older than this says nothing of now.
PROOF_FRESH_FOR = timedelta(minutes=15)
# Sends in the ten minutes before a phone's log-out that look like a burst. WhatsApp publishes no limit; this is ours.
BURST_SENDS = 10


@dataclass(frozen=True)
class CheckInput:
    """Everything that a check looks at."""

    session: Session
    facts: Facts
    asked: ServerAnswers | None
    silent_since: datetime | None
    dead_since: datetime | None
    number_changed_at: datetime | None

    @property
    def attempt(self) -> list[SessionEvent]:
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


def check_worker(facts: Facts) -> Check:
    """Checks that the worker gave a sign of life and that the queue of events does not lag."""
    question = N_("Os avisos e os envios estão sendo tratados?")
    if facts.worker_at is None or facts.now - facts.worker_at > timedelta(seconds=heartbeats.ALIVE_SECONDS):
        fact = N_("O worker não dá sinal de vida.")
        return Check(question, Result.FAULT, fact, facts.worker_at, name="worker_away", step=Step.SUPPORT)
    waiting = facts.waiting_since
    if waiting is not None and facts.now - waiting > timedelta(seconds=heartbeats.MAX_LAG_SECONDS):
        fact = N_("O aviso mais antigo da fila espera desde então.")
        return Check(question, Result.WARNING, fact, waiting, name="inbox_lagging", step=Step.ASK)
    return Check(question, Result.OK, N_("O worker deu sinal de vida e a fila anda."), facts.worker_at)


def check_worker_of_input(case: CheckInput) -> Check:
    """Runs `check_worker` as a check of a guide."""
    return check_worker(case.facts)


def check_session_up(case: CheckInput) -> Check:
    """Is it truly up: what the server says beside what was proved."""
    question = N_("A sessão está mesmo de pé?")
    if case.asked is not None and case.asked.state is None:
        return server_gave_no_answer(question, case.asked)
    if case.session.status is Status.PAIRING:
        fact = N_("Ainda pareando: nada foi provado.")
        return Check(question, Result.UNKNOWN, fact, case.session.pairing_started_at, step=Step.PAIR)
    if case.session.status is Status.DISCONNECTED:
        return _session_is_down(question, case)
    if case.asked is not None and (fault := _fault_seen_now(question, case.asked)) is not None:
        return fault
    if case.dead_since is not None:
        fact = N_("O servidor diz CONNECTED, mas o WhatsApp não responde desde então.")
        return Check(question, Result.FAULT, fact, case.dead_since, name="zombie", step=Step.RECONNECT)
    return _last_proof(question, case.session)


def safe_word(state: str | None) -> str:
    """A server's own word, which is somebody else's text: letters, digits and underscores of it."""
    return "".join(sign for sign in state or "" if sign.isalnum() or sign == "_")[:40]


def server_gave_no_answer(question: str, asked: ServerAnswers) -> Check:
    """The fault of a server that refused our credential or did not answer when it was asked just now."""
    refused = asked.error == WppUnauthorized.code
    fact = N_("Perguntamos agora: a credencial foi recusada.") if refused else N_("Perguntamos agora: sem resposta.")
    name, step = ("server_refused", Step.SUPPORT) if refused else ("server_unreachable", Step.ASK)
    return Check(question, Result.FAULT, fact, asked.at, name=name, step=step)


def _session_is_down(question: str, case: CheckInput) -> Check:
    session, asked = case.session, case.asked
    if asked is not None and asked.state == "CONNECTED" and session.failure != "lost":
        fact = N_("Aqui consta como desconectada; o servidor diz CONNECTED.")
        return Check(question, Result.WARNING, fact, asked.at, name="close_half_works", step=Step.DISCONNECT)
    fact = N_("Está desconectada desde então.")
    return Check(question, Result.FAULT, fact, session.updated_at, name=get_end_reason(case), step=Step.CONNECT)


def _last_proof(question: str, session: Session) -> Check:
    fact = N_("Última prova: {proof}.")
    params = {"proof": session.last_proof_kind or ""}
    if session.last_proof_at is None:
        return Check(question, Result.UNKNOWN, N_("Nada foi provado ainda."), step=Step.ASK)
    fresh = datetime.now(UTC) - session.last_proof_at < PROOF_FRESH_FOR
    result = Result.OK if fresh else Result.UNKNOWN
    return Check(question, result, fact, session.last_proof_at, params, step=None if fresh else Step.ASK)


def _fault_seen_now(question: str, asked: ServerAnswers) -> Check | None:
    """What is wrong as the server says now. None where it says nothing wrong, which is no proof of life."""
    if asked.state != "CONNECTED":
        fact, params = N_("O servidor diz {state}."), {"state": safe_word(asked.state)}
        return Check(question, Result.FAULT, fact, asked.at, params, name="lost", step=Step.RECONNECT)
    if asked.page is False or asked.signed_out:
        fact = N_("O servidor diz CONNECTED, mas não há mais página nem conta.")
        return Check(question, Result.FAULT, fact, asked.at, name="page_gone", step=Step.RECONNECT)
    if not asked.unanswered:
        return None
    fact = N_("O servidor diz CONNECTED, mas o WhatsApp não respondeu à pergunta.")
    return Check(question, Result.FAULT, fact, asked.at, name="zombie", step=Step.RECONNECT)


def check_phone_online(case: CheckInput) -> Check:
    """Is the phone online: only what it did, or what WhatsApp says for it, tells."""
    question = N_("O celular está online?")
    facts, session = case.facts, case.session
    last = next((one for one in facts.signals if one.word), None)
    if session.status is not Status.CONNECTED:
        fact = N_("Sem sessão de pé não há como saber.")
        return Check(question, Result.UNKNOWN, fact, session.updated_at)
    if last is not None and last.word == "phoneNotConnected" and not is_after(facts.acked_at, last.at):
        fact = N_("O servidor avisou que o celular não responde.")
        return Check(question, Result.WARNING, fact, last.at, name="phone_offline", step=Step.ASK)
    if session.last_proof_at is not None and facts.now - session.last_proof_at < PROOF_FRESH_FOR:
        return Check(question, Result.OK, N_("Houve sinal dele há pouco."), session.last_proof_at)
    return Check(question, Result.UNKNOWN, N_("Último sinal dele."), session.last_proof_at, step=Step.ASK)


def get_end_reason(case: CheckInput) -> str:
    """The name for why a session is down; empty where somebody ended it on purpose."""
    failure = case.session.failure or ""
    if failure == "phone_logged_out" and case.facts.before_the_end >= BURST_SENDS:
        return "banned"
    if failure == "not_ended":
        return "close_half_works"
    if failure == "lost" and case.asked is not None and case.asked.state == "CONNECTED":
        return "page_gone"
    return failure if failure in session_texts.FAILURES or failure in PROBLEMS else ""


def is_after(one: datetime | None, other: datetime | None) -> bool:
    """Whether `one` is later than `other`; False where one of them is missing."""
    return one is not None and other is not None and one > other
