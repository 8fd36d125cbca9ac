"""The field's faults all at once: a whole installation on a short clock notices each, names it, heals what it can.

Each row has a person of its own, so that all wait at the same time; what strikes a whole server comes after the others.
`tests/services/diagnostics/test_session_checks.py` holds how each fault is brought about, and its name to the letter.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from uuid import uuid4

import pytest

from sandbox.server import running_sandbox
from services.db.actor import Role, person
from services.db.embedded import EmbeddedPostgres
from services.fleet import incidents
from services.fleet.incidents import Kind, State
from tests.services.diagnostics import test_session_checks as field
from tests.services.diagnostics.test_session_checks import Field, Subject
from tests.support.installation import SandboxControl, wait_for
from tests.support.installations import lived_in, open_house

# What the people of the field are promised.
NOTICED_SECONDS = 60.0
HEALED_SECONDS = 60.0
STAFF = person(uuid4(), Role.OPERATOR)
AT_ONCE = 12
SHORT_CLOCK = {
    "SEND_PACE_SECONDS": "0",
    "HEALTH_SWEEP_SECONDS": "1",
    "HEALTH_PROOF_SECONDS": "2",
    "HEALTH_SILENCE_MINUTES": "0.05",
    "HEALTH_STEP_SECONDS": "12",
    "HEALTH_STUCK_SECONDS": "15",
    "HEALTH_HEALS_PER_SERVER": "10",
    "HEALTH_NUMBERS": ",".join(f"55119000000{n}" for n in range(10, 50)),
}


@dataclass(frozen=True)
class Row:
    """A fault: how it comes about, its name on Diagnóstico, what the worker finds, what mends it, how that ends."""

    arrange: Callable[[Subject], None]
    name: str
    finding: Kind | None = None
    mend: Callable[[Subject], None] = lambda one: None
    ends: State | None = None


@dataclass
class Outcome:
    """What became of a row. Seconds from when the fault was there; None: never."""

    named: float | None = None
    found: float | None = None
    state: State | None = None
    names: tuple[str, ...] = ()


def usually_heard(one: Subject) -> None:
    """A session that speaks at this hour of every day, and says nothing today."""
    one.pair()
    one.field.database.execute(
        "insert into session_hours (session, hour, events, last_at) select %s, date_trunc('hour', clock_timestamp()"
        " - interval '2 seconds' - make_interval(days => d)), 9, clock_timestamp() - make_interval(days => d)"
        " from generate_series(1, 7) d on conflict do nothing",
        one.name,
    )
    one.fault("silent")
    one.field.database.execute(
        "update session_hours set last_at = last_at - interval '5 minutes' where session = %s", one.name
    )
    one.age()


def without(fault: str) -> Callable[[Subject], None]:
    return lambda one: one.fault(fault, on=False)


def heard_again(one: Subject) -> None:
    """Somebody writes once the session has been restarted: what came before proves nothing of the new start."""
    one.fault("silent", on=False)
    acted = "select acted_at is not null from incidents where user_id = %s and kind = 'silent'"
    wait_for(lambda: one.field.database.one(acted, one.actor.user_id) and one.row("status") == "conectado")
    one.receive()


def back_again(one: Subject) -> None:
    one.field.control.clear_faults()


ROWS = [
    Row(field.zombie, "zombie", Kind.ZOMBIE, without("zombie"), State.HEALED),
    # Its server knows that the session is not up, once it is asked for a number.
    Row(field.page_gone, "page_gone", Kind.DROPPED, without("zombie"), State.HEALED),
    Row(usually_heard, "silent", Kind.SILENT, heard_again, State.HEALED),
    Row(field.silent, "unannounced"),
    # Its browser holds the profile for a minute, whoever closes it; only then the worker can start it anew.
    Row(field.stuck, "stuck_initializing", Kind.STUCK, without("stuck_initializing"), State.HEALED),
    Row(field.qr_loop, "qr_loop"),
    Row(field.stale_qr, "stale_qr"),
    Row(field.code_changes, "code_changes"),
    Row(field.close_half_works, "close_half_works"),
    Row(field.banned, "banned", Kind.LOGGED_OUT, ends=State.NEEDS_PHONE),
    Row(field.phone_removed, "phone_logged_out", Kind.LOGGED_OUT, ends=State.NEEDS_PHONE),
    Row(field.phone_offline, "phone_offline"),
    Row(field.no_session, "no_session_in_event"),
    Row(field.webhook_lost, "webhook_lost"),
    Row(field.wrong_secret, "webhook_refused"),
    Row(field.duplicate, "webhook_duplicate"),
    Row(field.reused_id, "reused_message_id"),
    Row(field.never_sent, "accepted_but_never_sent", Kind.UNACKED, ends=State.NEEDS_PERSON),
    Row(field.sends_into("error_but_delivered"), "uncertain_send"),
    Row(field.despite_error, "delivered_despite_error"),
    Row(field.sends_into("ack_before_reply", "read"), "ack_before_reply"),
    Row(field.ninth_digit, "ninth_digit"),
    Row(field.huge, "huge_media"),
]
# These strike everybody on the server.
FOR_ALL = [
    Row(field.restart_all, "restart_all"),
    Row(field.server_down, "server_unreachable", Kind.SERVER_DOWN, back_again, State.HEALED),
]


def title(row: Row) -> str:
    return str(row.arrange.__name__)


@pytest.fixture(scope="module")
def place(cluster: EmbeddedPostgres, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    with (
        running_sandbox(field.CONFIG) as server,
        open_house(
            cluster,
            template,
            tmp_path_factory.mktemp("field"),
            ("webhook", "worker"),
            WPP_SERVER_URL=server.url,
            WPP_SERVER_TOKEN=field.SECRET,
            **SHORT_CLOCK,
        ) as house,
        lived_in(house),
    ):
        control = SandboxControl(server.url)
        yield Field(house.database, control, house.processes)
        control.close()


@pytest.fixture(scope="module")
def outcomes(place: Field) -> dict[str, Future[Outcome]]:
    """Every row walked to its end; a row's own error comes out where its outcome is asked for."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        walked = {title(row): pool.submit(walk, row, field.someone(place)) for row in ROWS}
    for row in FOR_ALL:
        with ThreadPoolExecutor(1) as pool:
            walked[title(row)] = pool.submit(walk, row, field.someone(place))
    return walked


def walk(row: Row, one: Subject) -> Outcome:
    row.arrange(one)
    outcome, begun = Outcome(), time.monotonic()

    def noticed() -> bool:
        if outcome.named is None:
            outcome.names = one.examine().names
            outcome.named = time.monotonic() - begun if row.name in outcome.names else None
        if outcome.found is None and row.finding and state_of(row.finding, one) is not None:
            outcome.found = time.monotonic() - begun
        return outcome.named is not None and (outcome.found is not None or row.finding is None)

    until(noticed, NOTICED_SECONDS)
    row.mend(one)
    if row.finding is not None:
        kind = row.finding
        until(lambda: state_of(kind, one) is row.ends, HEALED_SECONDS)
        outcome.state = state_of(kind, one)
    return outcome


def until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait, and leave it to the row's test to say what did not happen."""
    try:
        wait_for(condition, seconds)
    except AssertionError:
        return


def state_of(kind: Kind, one: Subject) -> State | None:
    """How far the newest finding of that kind is, of this session or, for a server's, of all."""
    user_id = None if kind is Kind.SERVER_DOWN else one.actor.user_id
    found = [
        each for each in incidents.list_incidents(STAFF, user_id=user_id, ended=True).incidents if each.kind is kind
    ]
    return found[0].state if found else None


@pytest.mark.timeout(400)
@pytest.mark.parametrize("row", [*ROWS, *FOR_ALL], ids=title)
def test_it_notices_names_and_heals(outcomes: dict[str, Future[Outcome]], row: Row) -> None:
    outcome = outcomes[title(row)].result()
    assert outcome.named is not None, f"Diagnóstico says {outcome.names}"
    assert outcome.named < NOTICED_SECONDS
    if row.finding is not None:
        assert outcome.found is not None, "the worker found nothing"
        assert outcome.found < NOTICED_SECONDS
    assert outcome.state is row.ends
