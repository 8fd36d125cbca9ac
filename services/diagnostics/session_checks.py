"""Checks one session with the overview's three guides: what is, since when we know it, and what to do next.

`examine` judges what `facts` found: the database's facts and, if the server was asked, its answers. Nothing here
changes anything.
"""

from collections.abc import Callable
from uuid import UUID

from services.db.actor import Actor
from services.diagnostics.check_report import Check, Guide, Report, Result, Step
from services.diagnostics.disconnection_checks import check_end_reason, check_other_sessions, check_server_oddities
from services.diagnostics.facts import ServerAnswers, get_facts, get_owner
from services.diagnostics.pairing_checks import (
    check_pairing_code,
    check_server_accepted,
    check_start_requested,
    check_webhook_delivery,
    check_webhook_secret,
)
from services.diagnostics.sending_checks import (
    check_acknowledgements,
    check_message_outcome,
    check_number_form,
    check_own_number,
)
from services.diagnostics.shared_checks import (
    CheckInput,
    check_phone_online,
    check_session_up,
    check_worker,
    check_worker_of_input,
)
from services.errors import N_
from services.fleet import incidents, own_number
from services.fleet import session as fleet_session


def examine(actor: Actor, user_id: UUID | None = None, asked: ServerAnswers | None = None) -> Report:
    """The three guides for the session of `user_id` (default: the actor's own), with what `ask_server`
    found, if it was asked.

    Raises: Forbidden where it is somebody else's and the actor is no staff.
    """
    owner = get_owner(actor, user_id)
    session = fleet_session.get(actor, owner)
    facts = get_facts(actor, owner)
    if session is None:
        return Report(None, {guide: (_check_never_connected(), check_worker(facts)) for guide in Guide}, facts.now)
    # What silence and a dead session are has one rule: the worker's. It alone may ask about numbers of other sessions.
    silent, dead = (
        incidents.open_since(actor, kind, session.id) for kind in (incidents.Kind.SILENT, incidents.Kind.ZOMBIE)
    )
    change = own_number.get_change(actor, owner)
    case = CheckInput(session, facts, asked, silent, dead, change.since if change is not None else None)
    return Report(session, {guide: tuple(look(case) for look in looks) for guide, looks in CHECKS.items()}, facts.now)


def _check_never_connected() -> Check:
    fact = N_("Não há nenhuma sessão desta pessoa.")
    return Check(N_("“Conectar” foi acionado?"), Result.FAULT, fact, name="never_connected", step=Step.PAIR)


CHECKS: dict[Guide, tuple[Callable[[CheckInput], Check], ...]] = {
    Guide.QR: (
        check_start_requested,
        check_server_accepted,
        check_webhook_delivery,
        check_webhook_secret,
        check_pairing_code,
        check_worker_of_input,
    ),
    Guide.SEND: (
        check_session_up,
        check_own_number,
        check_number_form,
        check_phone_online,
        check_acknowledgements,
        check_message_outcome,
        check_worker_of_input,
    ),
    Guide.DROP: (
        check_end_reason,
        check_other_sessions,
        check_phone_online,
        check_session_up,
        check_webhook_delivery,
        check_server_oddities,
    ),
}
