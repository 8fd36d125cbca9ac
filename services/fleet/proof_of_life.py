"""Proof of life: whether WhatsApp still answers for a session.

All other reads are answered out of the browser's storage, also where WhatsApp is out of reach (a zombie), and the page
says CONNECTED. So a session is proved by what only WhatsApp can have said: an acknowledgement, or a message that came
in. Where nothing of that comes, `check-number-status` is asked: it never answers in a zombie (measured on
wppconnect-server 2.10.4). The browser answers it by itself for a contact, and for a number asked about within five
minutes; so no number is asked about again within `health.same_number_seconds`.

`proof_schedule` says who is asked, when, and about whom.
"""

from collections.abc import Sequence
from enum import StrEnum

import structlog
from sqlalchemy import Connection, text

from services.db import queries
from services.errors import ConfigurationError
from services.fleet import incidents, session, transitions
from services.fleet.proof_schedule import Question
from services.wppconnect.errors import InvalidPhone, WppDisconnected, WppError, WppUnreachable
from services.wppconnect.shared import get_client

_QUERIES = queries.load(__file__)

log = structlog.get_logger(__name__)
# Sends that ran into their time-out since the last proof, where no number may be asked about.
HUNG_SENDS = 2


class ProbeResult(StrEnum):
    """What was seen of a session."""

    ALIVE = "alive"  # WhatsApp answered
    ANSWERED = "answered"  # an answer that the browser may have given by itself: it proves nothing
    GONE = "gone"  # the server itself says that it is not up
    DEAD = "dead"  # the server says CONNECTED, WhatsApp does not answer
    UNREACHABLE = "unreachable"  # the server does not answer
    UNCLEAR = "unclear"  # it refuses, or is still starting, or nobody could be asked about


def ask_whatsapp(question: Question) -> ProbeResult:
    """Ask WhatsApp. Takes as long as the client's time-out for a query where it does not answer."""
    try:
        if question.phone is None:
            return _judge_by_hung_sends(question)
        get_client().check_number(question.server_url, question.name, question.phone)
    except WppDisconnected:
        return ask_server(question.server_url, question.name)
    except WppUnreachable:
        sight = ask_server(question.server_url, question.name)
        return ProbeResult.DEAD if sight is ProbeResult.ANSWERED else sight
    except (WppError, ConfigurationError, InvalidPhone) as error:
        log.warning("question_refused", session=question.name, error=type(error).__name__)
        return ProbeResult.UNCLEAR
    if question.certain:
        return ProbeResult.ALIVE
    return ProbeResult.DEAD if question.hung >= HUNG_SENDS else ProbeResult.ANSWERED


def ask_server(server_url: str, name: str) -> ProbeResult:
    """What the server knows by itself, for free: GONE, UNREACHABLE, UNCLEAR, or ANSWERED where it calls the session up,
    which says nothing of WhatsApp."""
    try:
        if get_client().check_connection(server_url, name):
            return ProbeResult.ANSWERED
        state = get_client().status_session(server_url, name).status
        # It may have come up between the two questions.
        if state == "CONNECTED" and get_client().check_connection(server_url, name):
            return ProbeResult.ANSWERED
    except WppUnreachable:
        return ProbeResult.UNREACHABLE
    except (WppError, ConfigurationError) as error:
        log.warning("probe_refused", session=name, error=type(error).__name__)
        return ProbeResult.UNCLEAR
    # It goes on calling one CONNECTED whose page or Chrome has died. While it starts again it is not up yet: no loss.
    return ProbeResult.GONE if state in ("CONNECTED", "CLOSED") else ProbeResult.UNCLEAR


def record_answers(tx: Connection, asked: Sequence[tuple[Question, ProbeResult]]) -> None:
    """Write down what the questions came to, but for the servers that did not answer."""
    answered = [one.id for one, sight in asked if sight in (ProbeResult.ALIVE, ProbeResult.ANSWERED)]
    tx.execute(_MARK_ANSWERED, {"ids": [one for one in answered if one is not None]})
    alive = [one for one, sight in asked if sight is ProbeResult.ALIVE]
    if alive:
        ids, attempts = [one.session_id for one in alive], [one.attempt for one in alive]
        tx.execute(_RECORD_PROOFS, {"ids": ids, "attempts": attempts, "kind": session.Proof.QUESTION})
    for one, sight in asked:
        if sight is ProbeResult.GONE:
            transitions.mark_lost(tx, one.name, one.attempt)
    incidents.open_incidents(
        tx, incidents.Kind.ZOMBIE, [one.session_id for one, sight in asked if sight is ProbeResult.DEAD]
    )


def _judge_by_hung_sends(question: Question) -> ProbeResult:
    """Two sends that ran into their time-out say as much as a question would."""
    if question.hung < HUNG_SENDS:
        return ProbeResult.UNCLEAR
    sight = ask_server(question.server_url, question.name)
    return ProbeResult.DEAD if sight is ProbeResult.ANSWERED else sight


_MARK_ANSWERED = text(
    "update public.proof_questions set answered_at = clock_timestamp() where id = any(cast(:ids as bigint[]))"
)

_RECORD_PROOFS = _QUERIES["record_proofs"]
