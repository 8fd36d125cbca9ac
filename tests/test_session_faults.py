"""Every fault of a session at once: an installation on a short clock notices each, names it and heals what it can.

Each row has a person of its own, so that all wait at the same time; what strikes a whole server comes after the others.
`tests/support/session_faults.py` holds how each fault is brought about.
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
from tests.support import session_faults
from tests.support.installation import open_installation, use_settings_of
from tests.support.processes import SERVER_TOKEN
from tests.support.sandbox_control import SandboxControl
from tests.support.session_faults import FaultySandbox, FaultySession
from tests.support.waiting import wait_for

# What owners of sessions are promised.
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

    arrange: Callable[[FaultySession], None]
    name: str
    finding: Kind | None = None
    mend: Callable[[FaultySession], None] = lambda faulty: None
    ends: State | None = None


@dataclass
class Outcome:
    """What became of a row. Seconds from when the fault was there; None: never."""

    named: float | None = None
    found: float | None = None
    state: State | None = None
    names: tuple[str, ...] = ()


def usually_heard(faulty: FaultySession) -> None:
    """A session that speaks at this hour of every day, and says nothing today."""
    faulty.pair()
    faulty.sandbox.database.execute(
        "insert into session_hours (session, hour, events, last_at) select %s, date_trunc('hour', clock_timestamp()"
        " - interval '2 seconds' - make_interval(days => d)), 9, clock_timestamp() - make_interval(days => d)"
        " from generate_series(1, 7) d on conflict do nothing",
        faulty.name,
    )
    faulty.fault("silent")
    faulty.sandbox.database.execute(
        "update session_hours set last_at = last_at - interval '5 minutes' where session = %s", faulty.name
    )
    faulty.age()


def without(fault: str) -> Callable[[FaultySession], None]:
    return lambda faulty: faulty.fault(fault, on=False)


def heard_again(faulty: FaultySession) -> None:
    """Somebody writes once the session has been restarted: what came before proves nothing of the new start."""
    faulty.fault("silent", on=False)
    acted = "select acted_at is not null from incidents where user_id = %s and kind = 'silent'"
    wait_for(lambda: faulty.sandbox.database.one(acted, faulty.actor.user_id) and faulty.row("status") == "conectado")
    faulty.receive()


def back_again(faulty: FaultySession) -> None:
    faulty.sandbox.control.clear_faults()


ROWS = [
    Row(session_faults.zombie, "zombie", Kind.ZOMBIE, without("zombie"), State.HEALED),
    # Its server knows that the session is not up, once it is asked for a number.
    Row(session_faults.page_gone, "page_gone", Kind.DROPPED, without("zombie"), State.HEALED),
    Row(usually_heard, "silent", Kind.SILENT, heard_again, State.HEALED),
    Row(session_faults.silent, "unannounced"),
    # Its browser holds the profile for a minute, whoever closes it; only then the worker can start it anew.
    Row(session_faults.stuck, "stuck_initializing", Kind.STUCK, without("stuck_initializing"), State.HEALED),
    Row(session_faults.qr_loop, "qr_loop"),
    Row(session_faults.stale_qr, "stale_qr"),
    Row(session_faults.code_changes, "code_changes"),
    Row(session_faults.close_half_works, "close_half_works"),
    Row(session_faults.banned, "banned", Kind.LOGGED_OUT, ends=State.NEEDS_PHONE),
    Row(session_faults.phone_removed, "phone_logged_out", Kind.LOGGED_OUT, ends=State.NEEDS_PHONE),
    Row(session_faults.phone_offline, "phone_offline"),
    Row(session_faults.no_session, "no_session_in_event"),
    Row(session_faults.webhook_lost, "webhook_lost"),
    Row(session_faults.wrong_secret, "webhook_refused"),
    Row(session_faults.duplicate, "webhook_duplicate"),
    Row(session_faults.reused_id, "reused_message_id"),
    Row(session_faults.never_sent, "accepted_but_never_sent", Kind.UNACKED, ends=State.NEEDS_PERSON),
    Row(session_faults.sends_into("error_but_delivered"), "uncertain_send"),
    Row(session_faults.despite_error, "delivered_despite_error"),
    Row(session_faults.sends_into("ack_before_reply", "read"), "ack_before_reply"),
    Row(session_faults.ninth_digit, "ninth_digit"),
    Row(session_faults.huge, "huge_media"),
]
# These strike everybody on the server.
FOR_ALL = [
    Row(session_faults.restart_all, "restart_all"),
    Row(session_faults.server_down, "server_unreachable", Kind.SERVER_DOWN, back_again, State.HEALED),
]


# One that heals, one that needs the phone, one that is only named. The others take minutes of clock.
QUICK = {session_faults.zombie, session_faults.phone_removed, session_faults.wrong_secret}


def title(row: Row) -> str:
    return str(row.arrange.__name__)


@pytest.fixture(scope="module")
def sandbox(
    cluster: EmbeddedPostgres, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FaultySandbox]:
    with (
        running_sandbox(session_faults.CONFIG) as server,
        open_installation(
            cluster,
            template,
            tmp_path_factory.mktemp("faults"),
            ("webhook", "worker"),
            WPP_SERVER_URL=server.url,
            WPP_SERVER_TOKEN=SERVER_TOKEN,
            **SHORT_CLOCK,
        ) as installation,
        use_settings_of(installation),
    ):
        control = SandboxControl(server.url)
        yield FaultySandbox(installation.database, control, installation.processes)
        control.close()


@pytest.fixture(scope="module")
def outcomes(sandbox: FaultySandbox, request: pytest.FixtureRequest) -> dict[str, Future[Outcome]]:
    """Every row that is asked for, run to its end; a row's own error comes out where its outcome is asked for."""
    asked = {item.callspec.id for item in request.session.items if item.path == request.path}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        running = {
            title(row): pool.submit(run_row, row, session_faults.new_session(sandbox))
            for row in ROWS
            if title(row) in asked
        }
    for row in (one for one in FOR_ALL if title(one) in asked):
        with ThreadPoolExecutor(1) as pool:
            running[title(row)] = pool.submit(run_row, row, session_faults.new_session(sandbox))
    return running


def run_row(row: Row, faulty: FaultySession) -> Outcome:
    row.arrange(faulty)
    outcome, begun = Outcome(), time.monotonic()

    def noticed() -> bool:
        if outcome.named is None:
            outcome.names = faulty.examine().names
            outcome.named = time.monotonic() - begun if row.name in outcome.names else None
        if outcome.found is None and row.finding and state_of(row.finding, faulty) is not None:
            outcome.found = time.monotonic() - begun
        return outcome.named is not None and (outcome.found is not None or row.finding is None)

    until(noticed, NOTICED_SECONDS)
    row.mend(faulty)
    if row.finding is not None:
        kind = row.finding
        until(lambda: state_of(kind, faulty) is row.ends, HEALED_SECONDS)
        outcome.state = state_of(kind, faulty)
    return outcome


def until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait, and leave it to the row's test to say what did not happen."""
    try:
        wait_for(condition, seconds)
    except AssertionError:
        return


def state_of(kind: Kind, faulty: FaultySession) -> State | None:
    """How far the newest finding of that kind is, of this session or, for a server's, of all."""
    user_id = None if kind is Kind.SERVER_DOWN else faulty.actor.user_id
    found = [
        each for each in incidents.list_incidents(STAFF, user_id=user_id, ended=True).incidents if each.kind is kind
    ]
    return found[0].state if found else None


@pytest.mark.timeout(400)
@pytest.mark.xdist_group("session_faults")
@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, id=title(row), marks=() if row.arrange in QUICK else pytest.mark.slow)
        for row in (*ROWS, *FOR_ALL)
    ],
)
def test_it_notices_names_and_heals(outcomes: dict[str, Future[Outcome]], row: Row) -> None:
    outcome = outcomes[title(row)].result()
    assert outcome.named is not None, f"Diagnóstico says {outcome.names}"
    assert outcome.named < NOTICED_SECONDS
    if row.finding is not None:
        assert outcome.found is not None, "the worker found nothing"
        assert outcome.found < NOTICED_SECONDS
    assert outcome.state is row.ends
