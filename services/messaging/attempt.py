"""One attempt to deliver a claimed message: where to, the call, and what its answer means."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import structlog

from services.contacts import number_checks
from services.contacts.number_checks import KnownNumber
from services.db.actor import SYSTEM
from services.errors import ConfigurationError, InvalidInput, NotFound, ServiceError
from services.fleet import checks
from services.messaging import transport
from services.messaging.claims import Claimed, Outcome
from services.messaging.delivery import mark_sending
from services.messaging.state import State, WaitReason
from services.platform.media_store import MediaUnavailable
from services.wppconnect.errors import (
    WppDisconnected,
    WppError,
    WppNoAnswer,
    WppOutcomeUnknown,
    WppRefused,
    WppRestricted,
    WppUnauthorized,
    WppUnreachable,
)
from services.wppconnect.phone import list_spellings_to_ask

log = structlog.get_logger(__name__)
# When a message is tried again whose number could not be asked about: the hour's budget for such questions is spent, or
# this many questions in a row had no answer. What stands behind it has its turn meanwhile.
NUMBERS_LATER = timedelta(minutes=10)
QUESTIONS_IN_A_ROW = 5


def deliver(claimed: Claimed) -> Outcome | None:
    """Send, once `sending` is committed and the number known. None where nothing was to be done any more: it was taken
    back, or another worker has taken it over."""
    found = _address_of(claimed)
    if not isinstance(found, str):
        return found
    if not claimed.sending and not mark_sending(claimed, found):
        return None
    try:
        with checks.check_if_disconnected(SYSTEM, claimed.session_name):
            sent = transport.send(claimed, found)
    except WppOutcomeUnknown:
        return Outcome(State.UNCERTAIN, "unknown", address=found)
    except NotFound:
        return Outcome(State.FAILED, "file_gone")
    except (InvalidInput, ConfigurationError, MediaUnavailable, WppError) as error:
        return _nothing_left(claimed, error)
    return Outcome(State.ACCEPTED, wpp_id=sent.id, address=found, ack=sent.ack, answered=True)


def _nothing_left(claimed: Claimed, error: ServiceError) -> Outcome:
    """The outcome of a failure of which it is certain that nothing left: only a refusal of this message ends it."""
    match error:
        case MediaUnavailable():
            return _held_up(WaitReason.FILES)
        case WppDisconnected():
            return _held_up(WaitReason.SESSION)
        case WppNoAnswer() if claimed.attempt % QUESTIONS_IN_A_ROW == 0:
            return Outcome(State.QUEUED, waiting=WaitReason.NUMBERS, later=NUMBERS_LATER)
        case WppNoAnswer():
            return _held_up(WaitReason.NO_ANSWER)
        case WppUnreachable():
            return _held_up(WaitReason.SERVER)
        case WppUnauthorized() | ConfigurationError():
            return _held_up(WaitReason.SETUP)
        case WppRestricted():
            return Outcome(State.FAILED, "restricted", answered=True)
    return Outcome(State.FAILED, "refused", answered=isinstance(error, WppRefused))


def _held_up(reason: WaitReason) -> Outcome:
    return Outcome(State.QUEUED, waiting=reason)


def _address_of(claimed: Claimed) -> str | Outcome:
    """Where to send to: as known, or as WhatsApp answers now; an outcome where nothing is to be sent."""
    if claimed.address is not None:
        return claimed.address
    spellings = list_spellings_to_ask(claimed.phone)
    if claimed.on_whatsapp is False and len(spellings) == 1:
        return Outcome(State.FAILED, "not_on_whatsapp")
    try:
        found = _ask_whatsapp(claimed.session_id, spellings)
    except (InvalidInput, WppError, ConfigurationError, NotFound) as error:
        return _nothing_left(claimed, error)
    if found is None:
        log.info("number_check_postponed", message=str(claimed.id))
        return Outcome(State.QUEUED, waiting=WaitReason.NUMBERS, later=NUMBERS_LATER)
    if not found.on_whatsapp:
        return Outcome(State.FAILED, "not_on_whatsapp", answered=True)
    return found.address or claimed.phone


def _ask_whatsapp(session_id: UUID, spellings: Sequence[str]) -> KnownNumber | None:
    """What WhatsApp says of a line, which it may have under either of its spellings; None where the hour's budget is
    spent.

    Raises: what `number_checks.check_numbers` raises.
    """
    known = number_checks.get_known(SYSTEM, session_id, spellings) if len(spellings) > 1 else {}
    found = None
    for spelling in spellings:
        found = known.get(spelling) or number_checks.check_numbers(SYSTEM, session_id, [spelling]).get(spelling)
        if found is None or found.on_whatsapp:
            break
    return found
